--- A web server: this service accepts connections and deals them out to agents, which read
--- requests and answer them. Afterwards a client service shows the other side.
local skynet = require "skynet"
local socket = require "skynet.socket"

local AGENTS = 4

skynet.start(function()
	local agents = {}
	for i = 1, AGENTS do
		agents[i] = skynet.newservice "agent"
	end
	local id, address, port = socket.listen("127.0.0.1", tonumber(skynet.getenv "port") or 8001)
	local turn = 0
	socket.start(id, function(client, from)
		-- not started yet: an agent takes the socket over by starting it
		turn = turn % AGENTS + 1
		skynet.send(agents[turn], "lua", client, from)
	end)
	skynet.error(("http listens on %s:%d"):format(address, port))
	skynet.newservice("client", port)
end)
