--- The hundred pairs of pairs.lua, on one worker: beside those on two, what the second one brings.
-- workers: 1
local skynet = require "skynet"
local bench = require "bench"

bench.main(function()
	local callers = {}
	for i = 1, 100 do
		callers[i] = skynet.newservice("pairs", "caller")
	end
	local each = bench.scale(8000)
	bench.rate("call, 100 pairs, one worker", each * 100, function()
		bench.parallel(100, function(i)
			skynet.call(callers[i], "lua", each)
		end)
	end)
end)
