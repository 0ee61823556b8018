--- skynet.call round trips of a hundred pairs of services at once.
-- workers: 2
local skynet = require "skynet"
local bench = require "bench"

if (...) == "peer" then
	skynet.start(function()
		skynet.dispatch("lua", function(_, _, ...)
			skynet.ret(skynet.pack(...))
		end)
	end)
	return
end

if (...) == "caller" then
	skynet.start(function()
		local peer = skynet.newservice(SERVICE_NAME, "peer")
		skynet.dispatch("lua", function(_, _, n)
			for _ = 1, n do
				skynet.call(peer, "lua", 1)
			end
			skynet.ret(skynet.pack(true))
		end)
	end)
	return
end

bench.main(function()
	local callers = {}
	for i = 1, 100 do
		callers[i] = skynet.newservice(SERVICE_NAME, "caller")
	end
	local each = bench.scale(8000)
	local workers = skynet.getenv "thread" == "1" and ", one worker" or ""
	bench.rate("call, 100 pairs" .. workers, each * 100, function()
		bench.parallel(100, function(i)
			skynet.call(callers[i], "lua", each)
		end)
	end)
end)
