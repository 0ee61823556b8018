--- Shows: data that many services read without a copy each, and its exchange while they run.
--
-- This service loads a table of monsters from a file and starts three arenas, which read it. Then
-- the balance changes: the file is loaded with another argument, and each arena takes the new
-- version when it's told to. The old version is freed once the last of them has.

local skynet = require "skynet"
local sharetable = require "skynet.sharetable"
require "skynet.manager"

local FILE = "./examples/sharetable/monsters.lua"

skynet.start(function()
	sharetable.loadfile(FILE, 1.0)
	local arenas = {}
	for i = 1, 3 do
		arenas[i] = skynet.newservice("arena", FILE)
		print(skynet.call(arenas[i], "lua", "fight", "goblin"))
	end

	sharetable.loadfile(FILE, 2.0) -- twice as strong
	print("before the update", skynet.call(arenas[1], "lua", "fight", "goblin"))
	for _, arena in ipairs(arenas) do
		skynet.call(arena, "lua", "update")
		print("after the update", skynet.call(arena, "lua", "fight", "goblin"))
	end
	print(skynet.call(arenas[1], "lua", "cheat"))

	-- the service that keeps the tables says who uses which version
	repeat
		skynet.sleep(1)
		local info = skynet.call(sharetable.address, "debug", "INFO")[FILE]
	until not info.history:find "\n"
	print "one version is left"
	skynet.abort()
end)
