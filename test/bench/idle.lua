--- What a node with nothing to do does: CPU time and context switches of ten seconds, 8 workers.
-- workers: 8
local skynet = require "skynet"
local bench = require "bench"

local function switches()
	local count = 0
	local list <close> = assert(io.popen("ls -d /proc/" .. io.open("/proc/self/stat"):read "n" .. "/task/*"))
	for task in list:lines() do
		local f <close> = assert(io.open(task .. "/status"))
		for n in f:read("a"):gmatch "voluntary_ctxt_switches:%s+(%d+)" do
			count = count + tonumber(n)
		end
	end
	return count
end

bench.main(function()
	skynet.sleep(50) -- let what starts with the node come to rest
	local cs, cpu = switches(), os.clock()
	skynet.sleep(bench.scale(1000))
	cpu = os.clock() - cpu
	-- what it takes to look, and to wake up from this sleep, isn't the idle node's
	bench.report("idle node, 8 workers, 10 s", math.floor(cpu * 100) / 100, "s cpu")
	bench.report("idle node, context switches in 10 s", switches() - cs, "switches")
end)
