--- Looks for a way through a map whose roads lead in a circle, without noticing.

local skynet = require "skynet"

local roads = { village = "bridge", bridge = "forest", forest = "village" }

local function walk(goal)
	local place = "village"
	while place ~= goal do
		place = roads[place]
	end
end

local command = {}

function command.find(goal)
	walk(goal)
	return true
end

function command.ping()
	return "here"
end

skynet.start(function()
	skynet.dispatch("lua", function(_, _, name, ...)
		skynet.retpack(command[name](...))
	end)
end)
