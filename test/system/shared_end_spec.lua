-- A node ends in order while its services share data of every kind.

local node = require "node"

describe("the end of a node", function()
	it("finds shared data in use", function()
		for _ = 1, 3 do
			local n = node.start { start = "endofnode", thread = 4 }
			n:expect "ending"
			assert.equal(0, n:exit_code())
			assert.is_nil(n.text:find "error")
		end
	end)
end)
