--- Waits until the state is set.
local skynet = require "skynet"
local datacenter = require "skynet.datacenter"

local state
local command = {}

function command.wait()
	state = datacenter.wait "state"
end

function command.result()
	while not state do
		skynet.sleep(1)
	end
	return "the waiter saw the state " .. state
end

skynet.start(function()
	skynet.dispatch("lua", function(session, _, cmd, ...)
		if session == 0 then
			command[cmd](...)
		else
			skynet.retpack(command[cmd](...))
		end
	end)
end)
