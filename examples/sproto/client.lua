--- A client for the plain interpreter:  3rd/lua/lua examples/sproto/client.lua PORT NAME
--- It calls what the server offers, one after another, and prints the answers.

package.path = "lualib/?.lua;" .. package.path
package.cpath = "luaclib/?.so;" .. package.cpath

local socket = require "client.socket"
local sproto = require "sproto"

local function schema(name)
	local f = assert(io.open("examples/sproto/" .. name))
	local text = f:read "a"
	f:close()
	return sproto.parse(text)
end

local port, name = ...
local fd = socket.connect("127.0.0.1", tonumber(port) or 8889)
local host = schema("server_to_client.sproto"):host()
local request = host:attach(schema "client_to_server.sproto")
local unread, session = "", 0

-- The next frame; nil at the end of the connection.
local function receive()
	while #unread < 2 or #unread < 2 + (">I2"):unpack(unread) do
		local bytes = socket.recv(fd)
		if bytes == "" then
			return nil
		end
		unread = unread .. (bytes or "")
		if not bytes then
			socket.usleep(1000)
		end
	end
	local frame, rest = (">s2"):unpack(unread)
	unread = unread:sub(rest)
	return frame
end

-- Ask, print notices that come before the answer, and return that.
local function call(what, args)
	session = session + 1
	socket.send(fd, (">s2"):pack(request(what, args, session)))
	while true do
		local frame = assert(receive(), "the server has closed the connection")
		local kind, which, result = host:dispatch(frame)
		if kind == "REQUEST" then
			print(("%s: %s"):format(which, result.text))
		else
			assert(which == session)
			return result
		end
	end
end

local function show(answer)
	print(answer.text, answer.bag.apple and answer.bag.apple.count)
end

show(call("login", { name = name or "nobody" }))
for _ = 1, 3 do
	call("put", { item = { name = "apple", count = 2 } })
end
show(call("login", { name = name or "nobody" }))
print("total", call("weigh", { grams = { 0.5, 1.5, 40 } }).total)
socket.send(fd, (">s2"):pack(request "quit"))
print(receive() == nil and "bye" or "the server goes on")
