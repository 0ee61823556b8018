--- What a node with nothing to do does: share of a core, and context switches, with 8 workers.
-- workers: 8
local skynet = require "skynet"
local bench = require "bench"

local function switches()
	local stat <close> = assert(io.open "/proc/self/stat")
	local count = 0
	local list <close> = assert(io.popen("ls -d /proc/" .. stat:read "n" .. "/task/*"))
	for task in list:lines() do
		local f <close> = assert(io.open(task .. "/status"))
		for n in f:read("a"):gmatch "voluntary_ctxt_switches:%s+(%d+)" do
			count = count + tonumber(n)
		end
	end
	return count
end

-- Context switches and CPU time of a sleep, and of looking at them.
local function sleep(seconds)
	local before, cpu = switches(), os.clock()
	skynet.sleep(seconds * 100)
	cpu = os.clock() - cpu
	return switches() - before, cpu
end

bench.main(function()
	local seconds = math.max(1, bench.scale(10))
	-- the shorter has all that isn't idling: looking, going to rest, waking up
	local few, little = sleep(1)
	local many, much = sleep(1 + seconds)
	bench.report("idle node, 8 workers", math.max(0, much - little) / seconds * 100, "% of a core")
	bench.report("idle node, context switches per s", math.max(0, many - few) / seconds, "1/s")
end)
