-- Timers of an otherwise idle node: each must wake somebody.

local node = require "node"

describe("skynet.sleep", function()
	teardown(node.stop_all)

	it("ends, whoever looked at the timers meanwhile", function()
		local n = node.start { thread = 4, start = "sleepy 500",
			lua_cpath = "./luaclib/?.so;./test/lib/?.so" }
		n:expect("all awake", 60)
		assert.equal(0, n:exit_code())
	end)
end)
