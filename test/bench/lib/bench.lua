--- What the bench programs share: clocks, repetition, and the lines test/bench/run collects.
--- Uses nothing but the public Lua API, so that the programs run on any runtime with this layout.
local skynet = require "skynet"
require "skynet.manager"

local bench = {}

--- One result: a tab-separated line on standard output.
---@param metric string
---@param value number
---@param unit string
function bench.report(metric, value, unit)
	io.stdout:write(string.format("BENCH\t%s\t%.6g\t%s\n", metric, value, unit))
	io.stdout:flush()
end

--- Run `fn` and say what one of its `n` operations took.
---@param metric string
---@param n integer   operations that fn does
---@param fn fun()
---@return number seconds
function bench.rate(metric, n, fn)
	collectgarbage()
	local cpu, begin = os.clock(), skynet.hpc()
	fn()
	local wall = (skynet.hpc() - begin) / 1e9
	cpu = os.clock() - cpu
	bench.report(metric, n / wall, "/s")
	bench.report(metric .. " cpu", cpu / n * 1e6, "us")
	return wall
end

--- Report the middle and the tail of a list of samples; sorts it.
---@param metric string
---@param samples number[]
---@param unit string
function bench.spread(metric, samples, unit)
	table.sort(samples)
	local function at(q)
		return samples[math.max(1, math.ceil(#samples * q))]
	end
	bench.report(metric .. " p50", at(0.5), unit)
	bench.report(metric .. " p99", at(0.99), unit)
end

bench.parallel = require "parallel"

--- A scale for all counts: BENCH_SCALE=0.1 for a quick look.
---@param n integer
---@return integer
function bench.scale(n)
	return math.max(1, math.floor(n * (tonumber(os.getenv "BENCH_SCALE") or 1)))
end

--- Run the program's `main` in the service that the node starts, then end the node.
---@param main fun()
function bench.main(main)
	skynet.start(function()
		skynet.timeout(10, function()
			local ok, err = pcall(main)
			if not ok then
				io.stdout:write("BENCH-ERROR\t", tostring(err):gsub("\n", " "), "\n")
				io.stdout:flush()
			end
			skynet.abort()
		end)
	end)
end

return bench
