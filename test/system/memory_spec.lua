-- A process that gets no more memory from its system, and one that gives it back.

local node = require "node"

-- address sanitizers need more address space than there is memory, and keep what was freed
local test = os.getenv "SAN" and pending or it

local function start(what)
	return node.start({ start = "hungry " .. what }, { "sh", "-c", 'ulimit -v 300000; exec "$@"', "sh" })
end

describe("without memory", function()
	test("a VM gets an error, and what it held back", function()
		local n = start "vm"
		n:expect "the VM said\tfalse\tnot enough memory\n"
		n:expect "and goes on\ttrue\n"
		assert.equal(0, n:exit_code())
	end)

	test("the node says so, and ends", function()
		local n = start "node"
		n:expect "xmalloc: Out of memory trying to allocate %d+ bytes\n"
		assert.is_true(n:exit_code() ~= 0)
	end)
end)

describe("memory that was freed", function()
	test("returns to the system, also when nothing happens any more", function()
		local n = node.start { start = "leaving", thread = 4 }
		local allocator = n:expect "all have left\t(.-)\n"
		node.eventually(function()
			local now, most = n:resident()
			return now < most / 3 or allocator ~= "jemalloc"
		end)
		n:kill()
	end)
end)
