--- Sleeps and blocks its thread in turns, alone in its node; for spec sleep_spec.
local kit = require "testkit"
local skynet = require "skynet"
require "skynet.manager"

local count = ...

skynet.start(function()
	skynet.fork(function()
		for _ = 1, tonumber(count) do
			skynet.sleep(1)
			kit.sleep(0.004)
		end
		print "all awake"
		skynet.abort()
	end)
end)
