-- The examples about shared data run, say what they should, and end well.

local node = require "node"

local function escape(text)
	return (text:gsub("%p", "%%%0"))
end

local function runs(example, ...)
	local n = node.spawn { "./skynet", ("examples/%s/config"):format(example) }
	for _, text in ipairs { ... } do
		n:expect(escape(text))
	end
	assert.equal(0, n:exit_code())
end

describe("the example", function()
	it("sharedata", function()
		runs("sharedata", "shop 2 sells a sword for 100 gold", "shop 1 sells a sword for 90 gold",
			"shop 3 sells a sword for 90 gold", "Error newindex, the key [.2]")
	end)

	it("datasheet", function()
		runs("datasheet", "a wolf has 30 hp and drops fur, meat",
			"a wolf has 35 hp and drops fur, meat, tooth")
	end)

	it("multicast", function()
		runs("multicast", "listener 1 heard weather: sunny; sports: 3 to 2",
			"listener 3 heard weather: sunny; sports: 3 to 2")
	end)

	it("sharemap", function()
		runs("sharemap", "changed at time 10: the fox is at 10",
			"unchanged at time 10: the fox is at 10")
	end)

	it("datacenter", function()
		runs("datacenter", "the previous port was\t8001", "the login server's port is\t9001",
			"there are servers for\tchat and login", "the waiter saw the state open")
	end)
end)
