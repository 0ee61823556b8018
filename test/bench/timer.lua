--- Two hundred thousand timers outstanding: setting, firing, lateness, memory.
local skynet = require "skynet"
local bench = require "bench"

bench.main(function()
	local n = bench.scale(200000)
	local fired, latest, main = 0, 0, coroutine.running()
	collectgarbage()
	local before = collectgarbage "count"
	local function set(i)
		local due = skynet.now() + 200 + i % 100
		skynet.timeout(200 + i % 100, function()
			local late = skynet.now() - due
			if late > latest then
				latest = late
			end
			fired = fired + 1
			if fired == n then
				skynet.wakeup(main)
			end
		end)
	end
	bench.rate("timer, set", n, function()
		for i = 1, n do
			set(i)
		end
	end)
	collectgarbage()
	bench.report("timer, Lua memory each", (collectgarbage "count" - before) * 1024 / n, "B")
	local cpu = os.clock()
	skynet.wait(main)
	bench.report("timer, fire cpu", (os.clock() - cpu) / n * 1e6, "us")
	bench.report("timer, latest", latest * 10, "ms")
end)
