--- Compiles the schemas once for the whole process, and starts an agent for each client. The
--- environment variable SPROTO_PORT chooses another port; 0 lets the system choose.
local skynet = require "skynet"
local socket = require "skynet.socket"
local loader = require "sprotoloader"
local slots = require "slots"

local here = "examples/sproto/"

skynet.start(function()
	loader.register(here .. "client_to_server.sproto", slots.TO_SERVER)
	loader.register(here .. "server_to_client.sproto", slots.TO_CLIENT)
	local id, address, port = socket.listen("127.0.0.1", tonumber(os.getenv "SPROTO_PORT") or 8889)
	socket.start(id, function(fd, from)
		skynet.error("a client from", from)
		skynet.send(skynet.newservice "agent", "lua", fd)
	end)
	skynet.error(("sproto listens at %s:%d"):format(address, port))
end)
