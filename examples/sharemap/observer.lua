--- Reads the world through a copy of its writer.
local skynet = require "skynet"
local sharemap = require "skynet.sharemap"

local world
local command = {}

function command.start(copy)
	world = sharemap.reader("world", copy)
end

function command.look()
	local changed = world:update()
	local fox = world.creatures[1]
	return ("%s at time %d: the %s is at %d"):format(changed and "changed" or "unchanged",
		world.time, fox.name, fox.x)
end

skynet.start(function()
	skynet.dispatch("lua", function(_, _, cmd, ...)
		skynet.retpack(command[cmd](...))
	end)
end)
