--- skynet.call round trips: one pair of services.
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

bench.main(function()
	local peer = skynet.newservice(SERVICE_NAME, "peer")
	local n = bench.scale(400000)
	skynet.call(peer, "lua", "warm")
	bench.rate("call", n, function()
		for _ = 1, n do
			skynet.call(peer, "lua", "hello", 1)
		end
	end)
end)
