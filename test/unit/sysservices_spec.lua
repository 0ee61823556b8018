-- The node's own services, command by command: launcher, service_mgr, service_provider.

local eventually = require "eventually"
local skynet = require "skynet"
local service = require "skynet.service"
require "skynet.manager"

local function fails(text, f, ...)
	local ok, err = pcall(f, ...)
	assert.is_false(ok)
	assert.truthy(tostring(err):find(text, 1, true), tostring(err))
end

local function launcher(...)
	return skynet.call(".launcher", "lua", ...)
end

-- Address of the service with this launch text, once it's there.
local function find(text)
	return eventually(function()
		for address, what in pairs(launcher "LIST") do
			if what == text then
				return tonumber(address:sub(2), 16)
			end
		end
	end)
end

-- Call f(...) in a coroutine; returns a function that waits for what it returned.
local function begin(f, ...)
	local result
	skynet.fork(function(...)
		result = table.pack(pcall(f, ...))
	end, ...)
	return function()
		eventually(function()
			return result
		end)
		return table.unpack(result, 1, result.n)
	end
end

describe(".launcher", function()
	it("takes commands in any case, and refuses unknown ones", function()
		assert.same(launcher "LIST", launcher "list")
		assert.same({ "Unknown command" }, launcher "NOSUCH")
	end)

	it("lists launch texts with their arguments", function()
		local s = skynet.newservice("echo", "one", 2)
		assert.equal("snlua echo one 2", launcher("LIST")[skynet.address(s)])
		assert.is_nil(launcher("LIST")[":00000001"]) -- the logger wasn't launched this way
		skynet.kill(s)
		assert.is_nil(launcher("LIST")[skynet.address(s)])
	end)

	it("collects STAT and MEM, and says who fails or is late", function()
		local good, bad = skynet.newservice "echo", skynet.newservice("echo", "bad")
		skynet.call(bad, "debug", "RUN", [[
			local skynet = require "skynet"
			skynet.dispatch("debug", function() error "no debugging here" end)
		]])
		local waiting = begin(skynet.newservice, "nostart")
		local silent = find "snlua nostart"
		local mem = launcher("MEM", 100)
		assert.truthy(mem[skynet.address(good)]:find "^%d+%.%d%d Kb %(snlua echo%)$")
		assert.equal("ERROR (snlua echo bad)", mem[skynet.address(bad)])
		assert.equal("TIMEOUT (snlua nostart)", mem[skynet.address(silent)])
		local stat = launcher("STAT", 100)
		assert.equal(0, stat[skynet.address(good)].task)
		assert.equal("ERROR", stat[skynet.address(bad)])
		assert.equal("TIMEOUT", stat[skynet.address(silent)])
		mem = launcher("GC", 100)
		assert.truthy(mem[skynet.address(good)]:find "Kb")
		assert.same({ [skynet.address(silent)] = "snlua nostart" }, launcher("KILL", silent))
		assert.is_false((waiting()))
		skynet.kill(good)
		skynet.kill(bad)
	end)

	it("kills what it doesn't know, too", function()
		assert.same({ [":0000abcd"] = "nil" }, launcher("KILL", 0xabcd))
		local s = skynet.newservice "echo"
		assert.same({ [skynet.address(s)] = "snlua echo" }, launcher("KILL", s))
		fails("call to invalid address", skynet.call, s, "lua", "echo")
	end)

	it("answers nil for a service that ends in its start, an error for one that's killed", function()
		assert.is_nil((skynet.newservice("badstart", "exit")))
		local waiting = begin(skynet.newservice, "badstart", "wait")
		skynet.kill(find "snlua badstart wait")
		local ok, err = waiting()
		assert.is_false(ok)
		assert.truthy(err:find "call failed$")
	end)

	it("tells which service a request starts", function()
		local session
		local waiting = begin(function()
			local co = coroutine.running()
			skynet.fork(function()
				session = skynet.task(co)
			end)
			return skynet.newservice("badstart", "wait")
		end)
		local s = find "snlua badstart wait"
		assert.equal(s, launcher("QUERY", session))
		assert.is_nil(launcher("QUERY", 0x7ffffff0))
		skynet.kill(s)
		waiting()
		assert.is_nil(launcher("QUERY", session))
	end)

	it("logs the messages of what LOGLAUNCH starts", function()
		local s = launcher("LOGLAUNCH", "snlua", "echo", "logged")
		skynet.call(s, "lua", "echo", 1)
		local path = ("%s/%08x.log"):format(skynet.getenv "logpath", s)
		assert.truthy(io.open(path))
		skynet.kill(s)
	end)

	it("can be patched: its commands are looked up at every request", function()
		local ok, out = skynet.call(".launcher", "debug", "RUN", [[
			local command = _P.lua.command
			command.LAUNCH, command.SPEC_LAUNCH = command.LOGLAUNCH, command.LAUNCH
			print(type(command.SPEC_LAUNCH))
		]])
		assert.is_true(ok, out)
		assert.equal("function", out)
		local s = skynet.newservice "echo"
		assert.truthy(io.open(("%s/%08x.log"):format(skynet.getenv "logpath", s)))
		skynet.call(".launcher", "debug", "RUN", [[
			local command = _P.lua.command
			command.LAUNCH, command.SPEC_LAUNCH = command.SPEC_LAUNCH, nil
		]])
		skynet.kill(s)
	end)

	it("refuses unknown texts", function()
		skynet.register_protocol { name = "text", id = skynet.PTYPE_TEXT, pack = function(s)
			return s
		end, unpack = skynet.tostring }
		fails("call failed", skynet.call, ".launcher", "text", "bogus")
		assert.is_table(launcher "LIST")
	end)

	it("forgets who has ended, also when many do", function()
		local all = {}
		for i = 1, 50 do
			all[i] = skynet.newservice("echo", "many")
		end
		for i = 1, 50, 2 do
			skynet.kill(all[i])
		end
		for i = 2, 50, 2 do
			skynet.send(all[i], "debug", "EXIT")
		end
		eventually(function()
			for _, text in pairs(launcher "LIST") do
				if text == "snlua echo many" then
					return false
				end
			end
			return true
		end)
	end)
end)

describe(".service", function()
	local function ask(...)
		return skynet.call(".service", "lua", ...)
	end

	it("answers nil and a text for what it can't do", function()
		assert.same({ nil, "Invalid command NOSUCH", n = 2 }, table.pack(ask "NOSUCH"))
		assert.same({ nil, "Invalid command nil", n = 2 }, table.pack(ask()))
		local v, err = ask("LAUNCH", "spec_no_such_service")
		assert.is_nil(v)
		assert.truthy(err:find "call failed$")
		assert.equal(err, select(2, ask("LAUNCH", "spec_no_such_service"))) -- it's remembered
		assert.equal(err, select(2, ask("QUERY", "spec_no_such_service")))
		assert.equal("Error: " .. err, ask("LIST").spec_no_such_service)
		assert.truthy(select(2, ask("LAUNCH", {})):find "needs a name")
		assert.truthy(select(2, ask("QUERY", "snaxd")):find "needs the name of a snax service")
	end)

	it("fails a unique service that ends in its start", function()
		assert.is_nil((ask("LAUNCH", "badstart", "exit")))
	end)

	it("keeps local and global names apart, and knows @name", function()
		local a, g = ask("LAUNCH", "echo"), ask("GLAUNCH", "echo")
		assert.are_not.equal(a, g)
		assert.equal(a, ask("QUERY", "echo"))
		assert.equal(g, ask("GQUERY", "echo"))
		assert.equal(g, ask("LAUNCH", "@echo"))
		assert.equal(g, ask("QUERY", "@echo"))
		local list = ask "LIST"
		assert.equal(skynet.address(a), list.echo)
		assert.equal(skynet.address(g), list["@echo"])
		assert.equal(skynet.address(skynet.localname ".service"),
			skynet.address(skynet.call(".cslave", "lua", "QUERYNAME", "SERVICE")))
	end)

	it("shows what is being started, by whom, and who waits", function()
		local first = begin(ask, "LAUNCH", "spec_wait", "wait")
		local asked = begin(ask, "QUERY", "spec_never")
		local second = begin(ask, "LAUNCH", "spec_wait")
		local at = find "snlua spec_wait wait"
		local text = eventually(function()
			local t = ask("LIST").spec_wait
			return t:find "Querying" and t:find "badstart.lua:" and t -- where its start is
		end)
		local me = skynet.address(skynet.self())
		assert.truthy(text:find("Init as " .. skynet.address(at) .. "\n", 1, true))
		assert.truthy(text:find("\nLaunching from " .. me .. "\nstack traceback:", 1, true))
		assert.truthy(text:find("\nQuerying:\n" .. me .. " stack traceback:", 1, true))
		text = ask("LIST").spec_never
		assert.equal(1, (text:find("Querying:\n" .. me .. " ", 1, true)))
		assert.is_nil(text:find "Launching")
		skynet.kill(at)
		assert.is_true((first()))
		local _, value, err = second()
		assert.is_nil(value)
		assert.truthy(err:find "call failed$")
		assert.is_function(asked)
	end)

	it("is there once", function()
		assert.is_nil((skynet.newservice "service_mgr"))
	end)
end)

describe("skynet.service's provider", function()
	local provider
	setup(function()
		provider = skynet.uniqueservice "service_provider"
	end)

	local function simple()
		local skynet = require "skynet" -- luacheck: ignore
		skynet.start(function()
			skynet.dispatch("lua", function(_, _, ...)
				skynet.retpack(...)
			end)
		end)
	end

	it("tells what it has", function()
		assert.is_nil((skynet.call(provider, "lua", "test", "spec_a")))
		local a = service.new("spec_a", simple, 1, { 2 }, nil, true)
		assert.equal(a, (skynet.call(provider, "lua", "test", "spec_a")))
		assert.equal(a, skynet.call(provider, "lua", "query", "spec_a"))
		local info = skynet.call(provider, "debug", "INFO")[skynet.address(a)]
		assert.equal("spec_a", info.name)
		assert.truthy(info.init:find "^1,table: 0x%x+,nil,true$")
		assert.truthy(info.time:find "^%d%d%d%d %a%a%a %d%d %d%d:%d%d:%d%d [+-]%d%d%d%d$")
		assert.equal("snlua service_cell spec_a", launcher("LIST")[skynet.address(a)])
		assert.is_true(service.close "spec_a")
		fails("call failed", skynet.call, provider, "lua", "nosuch")
	end)

	it("answers INFO while a name is asked for, booting or broken", function()
		local waiting = begin(service.query, "spec_b")
		eventually(function()
			return skynet.call(provider, "debug", "INFO").spec_b
		end)
		pcall(service.new, "spec_c", function()
			error "on purpose"
		end)
		assert.truthy(skynet.call(provider, "debug", "INFO").spec_c.status:find "call failed")
		assert.is_false(service.close "spec_c")
		-- closing what isn't there leaves those who wait for it waiting
		assert.is_false(service.close "spec_b")
		local b = service.new("spec_b", simple)
		assert.equal(b, select(2, waiting()))
		assert.is_true(service.close "spec_b")
	end)

	it("gives one service to all who ask at once", function()
		local function slow()
			local skynet = require "skynet" -- luacheck: ignore
			skynet.sleep(10)
			skynet.dispatch("lua", function()
				skynet.retpack(true)
			end)
		end
		local all = {}
		for i = 1, 5 do
			all[i] = begin(service.new, "spec_d", slow)
		end
		local first = select(2, all[1]())
		for i = 2, 5 do
			assert.equal(first, select(2, all[i]()))
		end
		assert.is_true(service.close "spec_d")
	end)

	it("wants a function whose only upvalue is _ENV", function()
		local outer = 1
		fails("assertion failed!", service.new, "spec_e", function()
			return print(outer)
		end)
		fails("assertion failed!", service.new, "spec_e", function() end)
	end)

	it("shows the function's own file and line in errors", function()
		local a = service.new("spec_f", function()
			local skynet = require "skynet" -- luacheck: ignore
			skynet.dispatch("lua", function()
				skynet.retpack(debug.getinfo(1, "S").short_src)
			end)
		end)
		assert.equal("test/unit/sysservices_spec.lua", skynet.call(a, "lua"))
		service.close "spec_f"
	end)

	it("has no handler until the function sets one", function()
		local a = service.new("spec_g", function()
			require "skynet"
		end)
		fails("call failed", skynet.call, a, "lua", "x")
		service.close "spec_g"
	end)
end)

describe("names and harbors on a node of its own", function()
	local harbor = require "skynet.harbor"

	it("keeps global names, and holds what waits for them", function()
		local s = skynet.newservice "echo"
		local call = begin(skynet.call, "SPECNAME", "lua", "echo", "by name")
		local query = begin(harbor.queryname, "SPECNAME")
		skynet.sleep(2)
		skynet.name("SPECNAME", s)
		assert.equal("by name", select(2, call()))
		assert.equal(s, select(2, query()))
		assert.equal(s, harbor.queryname "SPECNAME")
		skynet.name("SPECNAME", skynet.self()) -- refused, in the log
		assert.equal(s, harbor.queryname "SPECNAME")
		skynet.send("SPECNAME", "lua", "echo")
		skynet.kill(s)
		fails("call failed", skynet.call, "SPECNAME", "lua", "echo")
	end)

	it("finds local names", function()
		assert.equal(skynet.localname ".launcher", harbor.queryname ".launcher")
		assert.is_nil(harbor.queryname ".nobody")
	end)

	it("has no other harbors", function()
		harbor.link(3)
		fails("call failed", harbor.linkmaster)
		local connect = skynet.fork(harbor.connect, 3)
		fails("call failed", skynet.call, 0x02000001, "lua", "x")
		assert.is_nil(skynet.localname ".nobody")
		assert.equal(connect, skynet.killthread(connect))
		assert.same({ 0, false }, { skynet.harbor(skynet.self()) })
		assert.same({ 2, true }, { skynet.harbor(0x02000001) })
	end)
end)
