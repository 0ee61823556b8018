--- A web server for system specs: http and https (with `certfile` in the config), WebSockets
--- that echo, and a page that checks all that from a browser.
local skynet = require "skynet"
local socket = require "skynet.socket"
local httpd = require "http.httpd"
local websocket = require "http.websocket"

local handle = {}

function handle.message(id, data, format)
	if data == "close" then
		websocket.close(id, 4002, "because")
	elseif data == "ping" then
		websocket.ping(id, "hello")
	else
		websocket.write(id, data, format)
	end
end

function handle.pong(id, payload)
	websocket.write(id, "pong " .. payload)
end

function handle.close(_, code, reason)
	skynet.error("ws closed", code, reason)
end

function handle.error(_, err)
	skynet.error("ws error", err)
end

local routes = {}

function routes.page()
	local f = assert(io.open "test/services/webpage.html")
	local content = f:read "a"
	f:close()
	return 200, content, { ["content-type"] = "text/html" }
end

function routes.report(request)
	skynet.error("report: " .. request.body)
	return 204
end

function routes.echo(request)
	return 200, request.body
end

function routes.count(request)
	local size = 0
	for bytes in request.body do
		size = size + #bytes
	end
	return 200, tostring(size)
end

function routes.big()
	local n = 0
	return 200, function()
		n = n + 1
		return n <= 300 and ("0123456789abcdef"):rep(4096) or nil
	end
end

routes["favicon.ico"] = function()
	return 404
end

local function serve(id, from, protocol)
	return httpd.serve(id, function(request)
		local name = request.path:sub(2)
		if name == "ws" then
			websocket.accept(id, handle, "ws", from, { upgrade = request })
			return false
		end
		return (routes[name] or routes.echo)(request)
	end, { protocol = protocol, address = from, body_limit = 1 << 26 })
end

local function listen(protocol, server)
	local id, _, port = socket.listen("127.0.0.1", 0)
	socket.start(id, function(client, from)
		skynet.fork(server, client, from, protocol)
	end)
	skynet.error(("%s listens on %d"):format(protocol, port))
end

skynet.start(function()
	listen("http", serve)
	listen("ws", function(id, from)
		websocket.accept(id, handle, "ws", from, { strict = true })
	end)
	if skynet.getenv "certfile" then
		listen("https", serve)
		listen("wss", function(id, from)
			websocket.accept(id, handle, "wss", from)
		end)
	end
	skynet.error "webserver is up"
end)
