-- All workers in endless loops: the node goes on, and can be looked at and mended.

local console = require "console"
local node = require "node"

describe("relief workers", function()
	local n, con, loops

	local function threads()
		local count = 0
		local list <close> = assert(io.popen("ls /proc/" .. n.pid .. "/task"))
		for _ in list:lines() do
			count = count + 1
		end
		return count
	end

	-- A call from a console of its own, that a loop answers.
	local function loop(addr)
		local other = console.connect((tonumber((n.text:match "console at 127%.0%.0%.1:(%d+)"))))
		other:send("call " .. addr .. ' "loop"\n')
		loops[#loops + 1] = other
	end

	local function start(config)
		loops = {}
		config.start = "waiters"
		n = node.start(config)
		n:expect "\nready"
		con = console.connect((tonumber(n:expect "Start debug console at 127%.0%.0%.1:(%d+)")))
		return n:expect "address a%s+(:%x+)", n:expect "address b%s+(:%x+)"
	end

	after_each(function()
		for _, other in ipairs(loops) do
			other:close()
		end
		con:close()
		n:kill()
	end)

	it("go on with the rest while all workers are stuck, and end when one is free", function()
		local a, b = start { thread = 2 }
		local before = threads()
		loop(a)
		loop(b)
		n:expect "error: All 2 workers are in messages that don't end: one more goes on with the rest"
		local text = con:run "threads"
		assert.truthy(text:find(a .. "\t", 1, true) and text:find(b .. "\t", 1, true), text)
		con:run("signal " .. a)
		con:run("signal " .. b)
		for _, other in ipairs(loops) do
			other:expect "call failed\n<CMD Error>\n"
		end
		assert.equal("1\t5\nn\t1\n", (con:run("call " .. b .. ' "echo", 5')))
		node.eventually(function()
			con:run "list" -- whoever runs looks whether it's needed
			return threads() == before
		end)
	end)

	it("aren't more than the configuration allows", function()
		local a, b = start { thread = 1, relief_workers = 1 }
		loop(a)
		n:expect "error: All 1 workers are in messages that don't end: one more goes on with the rest"
		loop(b)
		n:expect "error: All 2 workers are in messages that don't end, and there can't be more of them"
	end)
end)
