--- A chat: the page comes by http, and a request for /chat becomes a WebSocket. A message is
--- text; the first one is the sender's name.
local skynet = require "skynet"
local socket = require "skynet.socket"
local httpd = require "http.httpd"
local websocket = require "http.websocket"

local names = {} -- id -> name, of those who are in the chat

local function tell_all(text)
	for id in pairs(names) do
		-- one who vanishes just now must not keep the others from hearing
		pcall(websocket.write, id, text)
	end
	skynet.error("chat:", text)
end

local chat = {}

function chat.message(id, text)
	if not names[id] then
		names[id] = text:sub(1, 20)
		tell_all(names[id] .. " joined")
	else
		tell_all(("%s: %s"):format(names[id], text:sub(1, 1000)))
	end
end

local function leave(id)
	local name = names[id]
	if name then
		names[id] = nil
		tell_all(name .. " left")
	end
end

chat.close = leave
chat.error = leave

local function page()
	local file = assert(io.open("examples/websocket/index.html", "rb"))
	local content = file:read "a"
	file:close()
	return content
end

local function handle(request)
	if request.path == "/chat" then
		websocket.accept(request.id, chat, "ws", request.address, {
			upgrade = request,
			max_payload = 4096, -- bytes
			heartbeat = 3000, -- centiseconds
		})
		return false -- the connection isn't http any more
	elseif request.path == "/" then
		return 200, page(), { ["content-type"] = "text/html; charset=utf-8" }
	end
	return 404, "nothing here\n"
end

skynet.start(function()
	local id, address, port = socket.listen("127.0.0.1", tonumber(skynet.getenv "port") or 9948)
	socket.start(id, function(client, from)
		skynet.fork(httpd.serve, client, handle, { address = from })
	end)
	skynet.error(("chat listens on %s:%d"):format(address, port))
end)
