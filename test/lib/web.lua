--- What the HTTP and WebSocket specs share: listeners, raw clients, waiting. For specs that run
--- inside a service.

local skynet = require "skynet"
local socket = require "skynet.socket"

local web = {}

local listeners = {}

--- Listen on a port of the system's choice; serve(id, address) runs for each connection.
---@return integer port, function stop
function web.listen(serve)
	local id, _, port = socket.listen("127.0.0.1", 0)
	socket.start(id, function(client, address)
		skynet.fork(serve, client, address)
	end)
	listeners[id] = true
	return port, function()
		listeners[id] = nil
		socket.close(id)
	end
end

--- Close all listeners.
function web.stop()
	for id in pairs(listeners) do
		listeners[id] = nil
		socket.close(id)
	end
end

--- A server that reads a request's head, answers with fixed bytes, and closes.
---@return integer port
function web.canned(bytes, keep_open)
	return (web.listen(function(id)
		socket.start(id)
		socket.readline(id, "\r\n\r\n")
		socket.write(id, bytes)
		if not keep_open then
			socket.close(id)
		end
	end))
end

--- Send bytes to a port of this machine, and read until the other side closes.
---@return string answer
function web.talk(port, bytes)
	local id = assert(socket.open("127.0.0.1", port))
	socket.write(id, bytes)
	local answer = socket.readall(id)
	socket.close(id)
	return answer or ""
end

--- Wait until f() is true.
function web.eventually(f)
	for _ = 1, 6000 do
		local v = f()
		if v then
			return v
		end
		skynet.sleep(1)
	end
	error("this never came true", 2)
end

--- A read function over fixed pieces, as sockethelper.readfunc makes them.
function web.reader(...)
	local pieces = { ... }
	return function(sz)
		local data = table.remove(pieces, 1)
		if data == nil then
			error "no more bytes"
		end
		if sz == nil or sz == #data then
			return data
		elseif #data > sz then
			table.insert(pieces, 1, data:sub(sz + 1))
			return data:sub(1, sz)
		end
		while #data < sz do
			data = data .. (table.remove(pieces, 1) or error "no more bytes")
		end
		if #data > sz then
			table.insert(pieces, 1, data:sub(sz + 1))
		end
		return data:sub(1, sz)
	end
end

return web
