-- The examples of snax and of harbor mode do what they say.

local node = require "node"
local h = require "harborkit"

describe("examples/snax", function()
	it("patches a room while it's open", function()
		local n = node.spawn { "./skynet", "examples/snax/config" }
		assert.equal(0, n:exit_code())
		n:expect "the room's object\t%[room:%x+%]\n"
		n:expect "members after Ann\t1\n"
		n:expect "members after Bob\t2\n"
		n:expect "dropped, kept\t1\t1\n"
		n:expect "what was said\tBob: darn, it's cold | Ann: oh %*%*%*%*"
		n:expect "calls of say\t3\n"
		n:expect "room lobby closes after 2 lines: everybody went home"
	end)
end)

describe("examples/harbor", function()
	-- a config of the example, on free ports
	local function config(name, ports)
		local text = assert(io.open("examples/harbor/" .. name)):read "a"
		return node.start_text((text:gsub("127%.0%.0%.1:(%d+)", function(port)
			ports[port] = ports[port] or h.free_port()
			return "127.0.0.1:" .. ports[port]
		end)))
	end

	it("joins two nodes", function()
		local ports = {}
		local one = config("one.config", ports)
		one:expect "node 1 is ready"
		local two = config("two.config", ports)
		two:expect "node 2 is done"
		two:expect "by name\thello node 2 at :02%x+\n"
		two:expect "address, harbor\t:0100000%x\t1\n"
		two:expect "by address\thello node 2 again at :02%x+\n"
		two:expect "Ann's score\t7\n"
		two:expect "a call that fails\tfalse\t[^\n]*call failed\n"
		one:expect "node 2 is here"
		two:kill()
		one:expect "node 2 is gone"
		two = config("two.config", ports)
		two:expect "Ann's score\t11\n"
		two:kill()
		one:signal(15)
		assert.equal(0, one:exit_code())
	end)
end)
