-- The services for a terminal: console, dbg, cmemory.

local kit = require "testkit"
local node = require "node"

local function start(options)
	options.snax = "./test/services/?.lua"
	return node.start(options)
end

local function lines(n, text)
	kit.write(n.input, text, 10)
end

describe("console", function()
	it("starts services and snax services by name, and shrugs at what fails", function()
		local n = start { start = "console" }
		n:expect "LAUNCH snlua console"
		lines(n, "nosuchservice\n\n   \nsnax nosuchsnax\nsnax\necho one two\nsnax pingserver false\n")
		n:expect "LAUNCH snlua echo one two\n"
		n:expect "LAUNCH snlua snaxd pingserver\n"
		n:expect "cannot open ./test/services/nosuchsnax.lua"
		lines(n, "echo in")
		kit.sleep(0.1)
		lines(n, " pieces\r\n")
		n:expect "LAUNCH snlua echo in pieces\n"
		n:kill()
	end)

	it("survives the end of its input", function()
		local n = start { start = "console" }
		n:expect "LAUNCH snlua console"
		lines(n, "echo first\necho unfinished")
		kit.close(n.input)
		n.input = kit.listen() -- for kill to close
		n:expect "LAUNCH snlua echo first\n"
		n:expect "LAUNCH snlua echo unfinished\n"
		n:signal(15)
		assert.equal(0, n:exit_code())
		assert.is_nil(n.text:find("error", 1, true))
	end)

	it("does without input", function()
		local config = node.file("config", 'harbor = 0\nthread = 2\nstart = "console"\n')
		local n = node.spawn { "sh", "-c", "exec ./skynet " .. config .. " </dev/null" }
		n:expect "KILL self" -- of bootstrap: the console is up
		n:signal(15)
		assert.equal(0, n:exit_code())
		assert.is_nil(n.text:find("lua call", 1, true))
	end)
end)

describe("dbg", function()
	it("prints the launcher's answer, sorted, and ends", function()
		local n = start { start = "dbg list" }
		n:expect "<CMD OK>\n"
		-- log lines may stand between them
		n:expect(":00000004\tsnlua cdummy\n.*:00000006\tsnlua datacenterd\n" ..
			".*:00000007\tsnlua service_mgr\n.*:00000008\tsnlua dbg list\n.*<CMD OK>\n")
		n:expect "%[:00000008%] KILL self"
		n:kill()
	end)

	it("prints nested tables as pairs", function()
		local n = start { start = "dbg stat 500" }
		n:expect ":00000004\tcpu:[%d.e+-]+\tmessage:%d+\tmqlen:%d+\ttask:%d+\n"
		n:expect "<CMD OK>\n"
		n:kill()
	end)

	it("says when a command is wrong", function()
		local n = start { start = "dbg nosuch" }
		n:expect "1\tUnknown command\n.*<CMD OK>\n"
		n:kill()
		n = start { start = "dbg" }
		n:expect "<CMD Error>\n"
		n:kill()
	end)
end)

describe("cmemory", function()
	it("prints what the process holds, and ends", function()
		local n = start { start = "cmemory" }
		n:expect "\ntotal\t%d+\n.*block\t%d+\n"
		n:expect "%[:00000008%] KILL self"
		n:kill()
	end)
end)
