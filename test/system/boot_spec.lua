-- Starting and ending a node: the log of a good boot, and what goes wrong in which way.

local node = require "node"

describe("a node", function()
	it("boots with the classic log", function()
		local n = node.start { start = "quit" }
		assert.equal(0, n:exit_code())
		local lines = {}
		for line in n.text:gmatch "[^\n]+" do
			lines[#lines + 1] = line
		end
		assert.same({
			"[:00000002] LAUNCH snlua bootstrap",
			"[:00000003] LAUNCH snlua launcher",
			"[:00000004] LAUNCH snlua cdummy",
			"[:00000005] LAUNCH harbor 0 4",
			"[:00000006] LAUNCH snlua datacenterd",
			"[:00000007] LAUNCH snlua service_mgr",
			"[:00000008] LAUNCH snlua quit",
		}, { table.unpack(lines, 1, 7) })
	end)

	it("ends in order on SIGTERM, hooks first", function()
		local n = node.start { start = "hooked" }
		n:expect "hook is set"
		n:signal(15)
		assert.equal(0, n:exit_code())
		assert.truthy(n.text:find "the node was asked to end")
		assert.truthy(n.text:find "hook ran")
	end)

	it("ends without a service that never returns, and says so", function()
		local n = node.start { start = "looper", shutdown_timeout = 1 }
		n:expect "looping"
		n:signal(15)
		assert.equal(1, n:exit_code())
		assert.truthy(n.text:find "service :00000008 doesn't return from a message of :%x+")
	end)

	it("ends 200,000 services in order", function()
		local n = node.start { start = "crowded 200000", logger = node.file "crowd.log" }
		n:expect "all are there"
		assert.equal(0, n:exit_code(), n.text)
	end)

	it("ends at once at a second SIGTERM", function()
		local n = node.start { start = "hooked slow", shutdown_timeout = 60 }
		n:expect "hook is set"
		n:signal(15)
		n:expect "hook runs"
		n:signal(15)
		assert.equal(0, n:exit_code(20))
	end)

	it("says why its start service failed, and exits non-zero", function()
		local n = node.start { start = "nosuchservice" }
		assert.equal(1, n:exit_code())
		assert.truthy(n.text:find "cannot open ./service/nosuchservice.lua")
		assert.truthy(n.text:find 'the start service "nosuchservice" failed')
	end)

	it("refuses standalone without harbor mode", function()
		local n = node.start { start = "quit", standalone = "127.0.0.1:1" }
		assert.equal(1, n:exit_code())
		assert.truthy(n.text:find "init service failed: [^\n]*standalone is for harbor mode")
	end)

	it("says which loader it can't load", function()
		local n = node.start { lualoader = "./nosuchloader.lua" }
		assert.equal(1, n:exit_code())
		assert.truthy(n.text:find "Can't load ./nosuchloader.lua : cannot open")
	end)

	it("refuses a wrong number of threads", function()
		local n = node.start { thread = 0 }
		assert.equal(1, n:exit_code())
		assert.truthy(n.text:find("Invalid thread 0 , should be in [1,1024]", 1, true))
	end)

	it("names file, line and key of a broken configuration", function()
		local n = node.start_text "thread = 1\nfoo = {}\n"
		assert.equal(1, n:exit_code())
		assert.truthy(n.text:find "Invalid config table key = foo")
		n = node.start_text "thread = = 1\n"
		assert.equal(1, n:exit_code())
		assert.truthy(n.text:find ":1:")
		n = node.start_text "x = '$NO_SUCH_VARIABLE_HERE'\n"
		assert.equal(1, n:exit_code())
		assert.truthy(n.text:find("os.getenv() failed: NO_SUCH_VARIABLE_HERE", 1, true))
	end)

	it("explains its command line", function()
		local n = node.spawn { "./skynet" }
		assert.equal(1, n:exit_code())
		assert.truthy(n.text:find "usage: skynet configfilename")
		assert.equal(0, node.spawn({ "./skynet", "--help" }):exit_code())
		n = node.spawn { "./skynet", "--version" }
		assert.equal(0, n:exit_code())
		assert.truthy(n.text:find "Lua 5.4")
		n = node.spawn { "./skynet", "/no/such/config" }
		assert.equal(1, n:exit_code())
		assert.truthy(n.text:find "/no/such/config: No such file or directory")
	end)

	it("checks a configuration without starting", function()
		local good = node.file("good", 'harbor = 0\nstart = "quit"\n'
			.. 'luaservice = "./service/?.lua;./test/services/?.lua"\n')
		assert.equal(0, node.spawn({ "./skynet", "--check", good }):exit_code())
		local bad = node.file("bad", 'harbor = 0\nstart = "nosuch"\n')
		local n = node.spawn { "./skynet", "--check", bad }
		assert.equal(1, n:exit_code())
		assert.truthy(n.text:find 'start service "nosuch" not found')
	end)

	it("includes files and reopens its log on SIGHUP", function()
		local log = node.file "log"
		local part = node.file("part", ('logger = %q\n'):format(log))
		local n = node.start_text(([[
			include %q
			harbor = 0
			thread = 2
			start = "hooked"
			luaservice = "./service/?.lua;./test/services/?.lua"
		]]):format(part))
		node.eventually(function()
			local f = io.open(log)
			return f and f:read "a":find "hook is set"
		end)
		os.rename(log, log .. ".1")
		n:signal(1)
		node.eventually(function()
			return io.open(log)
		end)
		n:signal(15)
		assert.equal(0, n:exit_code())
		local text = io.open(log):read "a"
		assert.truthy(text:find "^%d%d/%d%d/%d%d %d%d:%d%d:%d%d%.%d%d %[:%x+%] ")
	end)

	it("uses no CPU when it's idle", function()
		local n = node.start { start = "hooked", thread = 8 }
		n:expect "hook is set"
		require "testkit".sleep(1)
		local function ticks()
			local stat = io.open("/proc/" .. n.pid .. "/stat"):read "a"
			local u, s = stat:match "%) %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ (%d+) (%d+)"
			return u + s
		end
		-- the thread sanitizer has a thread of its own that wakes up now and then
		local sanitized = io.open("/proc/" .. n.pid .. "/maps"):read "a":find "tsan"
		local before = ticks()
		require "testkit".sleep(2)
		assert.is_true(ticks() - before <= (sanitized and 5 or 0))
		n:kill()
	end)
end)
