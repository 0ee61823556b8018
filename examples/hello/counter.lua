--- A service: state, and a table of the commands it answers.
local skynet = require "skynet"

local total = 0
local command = {}

function command.add(n)
	total = total + n
end

function command.get()
	return total
end

skynet.start(function()
	skynet.dispatch("lua", function(_, _, name, ...)
		skynet.retpack(command[name](...))
	end)
end)
