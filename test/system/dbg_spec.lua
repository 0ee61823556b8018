-- The small services for people: dbg, cmemory, console.

local kit = require "testkit"
local node = require "node"

describe("dbg", function()
	it("asks the launcher once, and prints the answer as the console does", function()
		local n = node.start { start = "dbg list" }
		n:expect ":%x+\tsnlua dbg list\n"
		n:expect "<CMD OK>\n"
		n:kill()
		n = node.start { start = "dbg mem 100" }
		n:expect ":%x+\t%d+%.%d%d Kb %(snlua dbg mem 100%)\n"
		n:expect "<CMD OK>\n"
		n:kill()
	end)
end)

describe("cmemory", function()
	it("prints what services hold, and ends", function()
		local n = node.start { start = "cmemory" }
		n:expect ":%x+\t%d+"
		n:expect "total\t%d+"
		n:kill()
	end)
end)

describe("console", function()
	it("starts what is typed, and survives the end of its input", function()
		local n = node.start { start = "console" }
		n:expect "LAUNCH snlua console"
		kit.write(n.input, "\n  \nno_such_service\necho\n", 10)
		n:expect "LAUNCH snlua echo"
		kit.close(n.input)
		n:signal(15)
		assert.equal(0, n:exit_code())
	end)
end)
