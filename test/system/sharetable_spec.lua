-- The example of shared tables, run as a user would; and that versions are freed at a node's log.

require "helper"
local node = require "node"

describe("examples/sharetable", function()
	it("reads, updates, refuses writes and frees the old version", function()
		local n = node.spawn { "./skynet", "examples/sharetable/config" }
		n:expect "goblin of level 3 hits for 4\ttrue"
		n:expect "before the update\tgoblin of level 3 hits for 4\ttrue"
		n:expect "after the update\tgoblin of level 3 hits for 8\ttrue"
		n:expect "attempt to change a table value"
		n:expect "Delete a version %(userdata: 0x%x+%) of %./examples/sharetable/monsters%.lua"
		n:expect "one version is left"
		assert.equal(0, n:exit_code())
		local _, updated = n.text:gsub("after the update", "")
		assert.equal(3, updated)
	end)
end)
