-- The bench driver: its table, its file, and what it says of a program that fails.

local node = require "node"

describe("the bench driver", function()
	it("measures, and writes the table down", function()
		local out = node.file "table"
		local run = node.spawn { "env", "BENCH_SCALE=0.001", "RUNS=2", "TABLE=" .. out,
			"test/bench/run", "call", "timer" }
		assert.equal(0, run:exit_code())
		assert.truthy(run.text:find "call +[%d.]+ ?[kM]? /s +>= 900.0 k +%a+\n")
		assert.truthy(run.text:find "timer, latest +[%d.]+ ms +<= 15 +%a+\n")
		local rows = {}
		for line in io.lines(out) do
			local metric, unit, median, low, high = line:match "([^\t]+)\t([^\t]+)\t(%S+)\t(%S+)\t(%S+)"
			rows[metric] = unit
			assert.is_true(tonumber(low) <= tonumber(median) and tonumber(median) <= tonumber(high))
		end
		assert.equal("/s", rows["call"])
		assert.equal("us", rows["timer, fire cpu"])
	end)

	it("compares with another runtime", function()
		local run = node.spawn { "env", "BENCH_SCALE=0.001", "RUNS=1", "PEER=.", "test/bench/run", "call" }
		assert.equal(0, run:exit_code())
		assert.truthy(run.text:find "call +[%d.]+ ?[kM]? +[%d.]+ ?[kM]? /s +[%d.]+x %([%d.]+%-[%d.]+%)\n")
	end)

	it("fails with a program that fails, and shows its end", function()
		local run = node.spawn { "env", "RUNS=1", "test/bench/run", "nosuchprogram" }
		assert.equal(1, run:exit_code())
		assert.truthy(run.text:find "nosuchprogram in .- failed")
	end)
end)
