--- A board of scores, of which there's one in the whole network.
local skynet = require "skynet"

local scores = {}
local command = {}

function command.add(who, points)
	scores[who] = (scores[who] or 0) + points
	return scores[who]
end

function command.get(who)
	return scores[who]
end

skynet.start(function()
	skynet.dispatch("lua", function(_, _, name, ...)
		skynet.retpack(command[name](...))
	end)
end)
