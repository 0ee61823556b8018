--- Simulates a world and publishes its state; an observer looks at it at its own pace.
local skynet = require "skynet"
local sharemap = require "skynet.sharemap"
require "skynet.manager"

skynet.start(function()
	sharemap.register "./examples/sharemap/world.sproto"
	local world = sharemap.writer("world", {
		time = 0,
		creatures = { { name = "fox", x = 0, y = 0 }, { name = "hare", x = 5, y = 0 } },
	})
	-- a copy makes one reader
	local observer = skynet.newservice "observer"
	skynet.call(observer, "lua", "start", world:copy())
	for time = 1, 10 do
		world.time = time
		for _, c in ipairs(world.creatures) do
			c.x = c.x + 1
		end
		world:commit() -- until now nobody else sees the changes
	end
	-- ten versions were published: the observer takes the last one
	print(skynet.call(observer, "lua", "look"))
	print(skynet.call(observer, "lua", "look"))
	skynet.abort()
end)
