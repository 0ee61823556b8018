--- A TCP server: every connection has a coroutine of its own that echoes lines.
local skynet = require "skynet"
local socket = require "skynet.socket"

local function serve(id, from)
	socket.start(id)
	socket.write(id, "Say something, or quit.\n")
	for line in function() return socket.readline(id) or nil end do
		if line == "quit" then
			break
		end
		socket.write(id, ("%s said %s\n"):format(from, line))
	end
	socket.close(id)
end

skynet.start(function()
	local id, address, port = socket.listen("127.0.0.1", tonumber(skynet.getenv "port") or 8888)
	skynet.error(("echo listens on %s:%d"):format(address, port))
	socket.start(id, function(client, from)
		skynet.fork(serve, client, from)
	end)
end)
