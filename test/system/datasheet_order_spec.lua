-- Loading skynet.datasheet waits for a builder.

local node = require "node"

describe("skynet.datasheet", function()
	it("holds a service's start until some service has loaded the builder", function()
		local n = node.start { start = "sheetorder" }
		n:expect "before\tnil"
		n:expect "ready\tfalse"
		n:expect "after\ttrue"
		assert.equal(0, n:exit_code())
	end)
end)
