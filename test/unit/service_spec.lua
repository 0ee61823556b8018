-- Services: starting, finding, ending; names; the debug protocol; services from functions.

local eventually = require "eventually"
local skynet = require "skynet"
require "skynet.manager"

local function fails(text, f, ...)
	local ok, err = pcall(f, ...)
	assert.is_false(ok)
	assert.truthy(tostring(err):find(text, 1, true), tostring(err))
end

describe("skynet.newservice", function()
	it("raises when the script is missing or fails", function()
		assert.is_false((pcall(skynet.newservice, "there_is_no_such_service")))
		assert.is_false((pcall(skynet.newservice, "badstart", "main")))
		assert.is_false((pcall(skynet.newservice, "badstart", "start")))
		assert.is_false((pcall(skynet.newservice, "badstart", "init")))
	end)

	it("returns when the service has started", function()
		local s = skynet.newservice("badstart", "slow")
		assert.is_true(skynet.call(s, "lua"))
		skynet.kill(s)
	end)

	it("shows in the launcher's list until it's gone", function()
		local s = skynet.newservice "echo"
		local key = skynet.address(s)
		assert.equal("snlua echo", skynet.call(".launcher", "lua", "LIST")[key])
		skynet.send(s, "debug", "EXIT")
		eventually(function()
			return skynet.call(".launcher", "lua", "LIST")[key] == nil
		end)
	end)
end)

describe("skynet.uniqueservice", function()
	it("starts one, whoever asks", function()
		local a, b
		skynet.fork(function()
			a = skynet.uniqueservice "echo"
		end)
		b = skynet.uniqueservice "echo"
		eventually(function()
			return a
		end)
		assert.equal(a, b)
		assert.equal(a, skynet.queryservice "echo")
		assert.equal(skynet.uniqueservice(true, "echo"), skynet.queryservice(true, "echo"))
	end)

	it("raises when it can't start", function()
		assert.is_false((pcall(skynet.uniqueservice, "there_is_no_such_service")))
	end)
end)

describe("names", function()
	it("belong to the first, and vanish with the service", function()
		local a, b = skynet.newservice "echo", skynet.newservice "echo"
		skynet.name(".spec_name", a)
		skynet.name(".spec_name", b)
		assert.equal(a, skynet.localname ".spec_name")
		skynet.kill(a)
		eventually(function()
			return skynet.localname ".spec_name" == nil
		end)
		skynet.name(".spec_name", b)
		assert.equal(b, skynet.localname ".spec_name")
		skynet.kill(b)
	end)

	it("refuses impossible ones", function()
		fails("assertion failed!", skynet.name, "a_name_that_is_too_long", skynet.self())
		fails("assertion failed!", skynet.register, ":1")
	end)
end)

describe("the debug protocol", function()
	local s
	setup(function()
		s = skynet.newservice "echo"
	end)
	teardown(function()
		skynet.kill(s)
	end)

	it("answers MEM, STAT, TASK, PING", function()
		assert.is_true(skynet.call(s, "debug", "MEM") > 1)
		local stat = skynet.call(s, "debug", "STAT")
		assert.equal("number", type(stat.mqlen))
		assert.equal("number", type(stat.message))
		assert.equal("table", type(skynet.call(s, "debug", "TASK")))
		skynet.call(s, "debug", "PING")
	end)

	it("runs code in a service", function()
		local ok, out = skynet.call(s, "debug", "RUN", "print(1 + 1, _P.lua ~= nil)")
		assert.is_true(ok)
		assert.truthy(out:find "2\ttrue", 1, true)
		ok, out = skynet.call(s, "debug", "RUN", "this is no Lua")
		assert.is_false(ok)
		assert.truthy(out:find "syntax error")
	end)

	it("takes new commands", function()
		require "skynet.debug".reg_debugcmd("SPEC", function(a)
			skynet.retpack(a * 2)
		end)
		assert.equal(42, skynet.call(skynet.self(), "debug", "SPEC", 21))
	end)
end)

describe("skynet.service", function()
	local service = require "skynet.service"

	local function counter(start)
		local skynet = require "skynet" -- luacheck: ignore
		local n = start
		skynet.dispatch("lua", function()
			n = n + 1
			skynet.retpack(n)
		end)
	end

	it("runs a function as a service, one per name", function()
		local a = service.new("spec_counter", counter, 10)
		assert.equal(a, service.new("spec_counter", counter, 99))
		assert.equal(a, service.query "spec_counter")
		assert.equal(11, skynet.call(a, "lua"))
		assert.is_true(service.close "spec_counter")
		assert.is_false(service.close "spec_counter")
	end)

	it("remembers a failure until it's closed", function()
		local function broken()
			error "on purpose"
		end
		fails("call failed", service.new, "spec_broken", broken)
		fails("call failed", service.new, "spec_broken", broken)
		assert.is_false(service.close "spec_broken")
	end)
end)

describe("skynet.manager", function()
	it("monitors exits", function()
		-- the process monitor gets an empty message of type client from each that ends
		local s = skynet.newservice "echo"
		local gone
		skynet.register_protocol { name = "client", id = skynet.PTYPE_CLIENT,
			unpack = function() end, dispatch = function(_, source)
				gone = gone or source == s
			end }
		require "skynet.core".command("MONITOR", skynet.address(skynet.self()))
		skynet.kill(s)
		eventually(function()
			return gone
		end)
	end)

	it("launches C services", function()
		local logger = skynet.launch("logger", "/dev/null")
		assert.equal("number", type(logger))
		skynet.kill(logger)
		assert.equal(0, select("#", skynet.launch "there_is_no_such_module"))
	end)
end)

describe("memory", function()
	it("comes back after many services", function()
		local memory = require "skynet.memory"
		local function round()
			local all = {}
			for i = 1, 100 do
				all[i] = skynet.newservice "echo"
			end
			for i = 1, 100 do
				skynet.kill(all[i])
			end
			eventually(function()
				return not skynet.call(".launcher", "lua", "LIST")[skynet.address(all[100])]
			end)
			collectgarbage()
			skynet.sleep(5)
			return memory.total()
		end
		round()
		local first = round()
		for _ = 1, 5 do
			round()
		end
		assert.is_true(round() - first < 4 << 20)
	end)
end)
