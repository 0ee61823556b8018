local node = require "node"

describe("a cluster of busy nodes", function()
	it("keeps its laws while one of them freezes, crashes, leaves and returns", function()
		local run = node.spawn { "test/stress/run", "5", tostring(os.time()) }
		local code = run:exit_code(600)
		print((run.text:gsub("[^\n]+", "# %0")))
		assert.equal(0, code, run.text)
	end)
end)
