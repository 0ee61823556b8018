--- What a message costs as services become many: calls to one of N, picked at random. Beyond the
--- processor's cache each costs the cache misses of two more services; instructions stay the same
--- (`make bench-counts B=call`).
-- workers: 2
local skynet = require "skynet"
local bench = require "bench"

if (...) == "peer" then
	skynet.start(function()
		skynet.dispatch("lua", function()
			skynet.ret(skynet.pack(1))
		end)
	end)
	return
end

bench.main(function()
	local all = {}
	for _, many in ipairs { 10, 100, 1000, 10000, 100000 } do
		many = bench.scale(many)
		for i = #all + 1, many do
			all[i] = skynet.newservice(SERVICE_NAME, "peer")
		end
		local n = bench.scale(200000)
		bench.rate(("growth: call to one of %d services"):format(many), n, function()
			for _ = 1, n do
				skynet.call(all[math.random(many)], "lua")
			end
		end)
	end
end)
