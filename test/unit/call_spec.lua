-- Calls and answers between services: success, every way to fail, and who is told.

local parallel = require "parallel"
local skynet = require "skynet"
require "skynet.manager"

local function fails(text, f, ...)
	local ok, err = pcall(f, ...)
	assert.is_false(ok)
	assert.truthy(tostring(err):find(text, 1, true), tostring(err))
end

local function start(...)
	return skynet.newservice("echo", ...)
end

describe("skynet.call", function()
	local echo

	before_each(function()
		echo = start()
	end)

	after_each(function()
		skynet.kill(echo)
	end)

	it("returns what the service packed, nils included", function()
		local r = table.pack(skynet.call(echo, "lua", "echo", 1, nil, "x", nil))
		assert.same({ n = 4, 1, nil, "x", nil }, r)
		assert.equal(0, select("#", skynet.call(echo, "lua", "echo")))
	end)

	it("takes addresses as handle, :hex and .name", function()
		skynet.name(".calltarget", echo)
		assert.equal(1, skynet.call(skynet.address(echo), "lua", "echo", 1))
		assert.equal(2, skynet.call(".calltarget", "lua", "echo", 2))
		assert.equal(echo, skynet.localname ".calltarget")
	end)

	it("can call its own service", function()
		skynet.dispatch("lua", function(_, _, v)
			skynet.retpack(v + 1)
		end)
		assert.equal(6, skynet.call(skynet.self(), "lua", 5))
	end)

	it("fails when the handler raises", function()
		fails("call failed", skynet.call, echo, "lua", "boom", "on purpose")
		assert.equal("still there", skynet.call(echo, "lua", "echo", "still there"))
	end)

	it("fails for a dead or impossible address", function()
		skynet.kill(echo)
		fails(("call to invalid address :%08x"):format(echo), skynet.call, echo, "lua", "echo")
		fails("call to invalid address .nobody", skynet.call, ".nobody", "lua", "echo")
		fails("call to invalid address", skynet.rawcall, ".nobody", "lua", "")
		fails("dest address type (nil) must be a string or number.", skynet.call, nil, "lua")
		fails("dest address type (table) must be a string or number.", skynet.call, {}, "lua")
		echo = start()
	end)

	it("fails when the service exits with the request in its hands", function()
		local errors = 0
		for _ = 1, 3 do
			skynet.fork(function()
				if not pcall(skynet.call, echo, "lua", "never") then
					errors = errors + 1
				end
			end)
		end
		skynet.sleep(5)
		assert.equal(0, errors)
		pcall(skynet.call, echo, "lua", "exit")
		skynet.sleep(5)
		assert.equal(3, errors)
	end)

	it("fails when the service is killed with the request in its hands", function()
		local result
		skynet.fork(function()
			result = table.pack(pcall(skynet.call, echo, "lua", "hang"))
		end)
		skynet.sleep(5)
		skynet.kill(echo)
		for _ = 1, 500 do
			if result then
				break
			end
			skynet.sleep(1)
		end
		assert.is_false(result[1])
		assert.truthy(result[2]:find "call failed")
	end)

	it("fails when the service is killed with a response it has yet to give", function()
		local result
		skynet.fork(function()
			result = table.pack(pcall(skynet.call, echo, "lua", "keep"))
		end)
		skynet.sleep(5)
		skynet.kill(echo)
		for _ = 1, 500 do
			if result then
				break
			end
			skynet.sleep(1)
		end
		assert.is_false(result[1])
		assert.truthy(result[2]:find "call failed")
	end)

	it("fails when the service is killed before it looked at the request", function()
		skynet.send(echo, "lua", "sleep", 100)
		local result
		local dead = start()
		skynet.fork(function()
			result = table.pack(pcall(skynet.call, dead, "lua", "hang"))
		end)
		skynet.kill(dead)
		for _ = 1, 500 do
			if result then
				break
			end
			skynet.sleep(1)
		end
		assert.is_false(result[1])
	end)

	it("fails for a protocol the service doesn't know", function()
		skynet.register_protocol { name = "strange", id = 99, pack = skynet.pack,
			unpack = skynet.unpack }
		fails("call failed", skynet.call, echo, "strange", 1)
	end)

	it("raises what can't be packed before anything is sent", function()
		fails("Unsupport type function to serialize", skynet.call, echo, "lua", "echo", print)
		assert.equal(1, skynet.call(echo, "lua", "echo", 1))
	end)

	it("ends by skynet.term", function()
		local result
		skynet.fork(function()
			result = table.pack(pcall(skynet.call, echo, "lua", "never"))
		end)
		skynet.sleep(2)
		skynet.term(echo)
		skynet.sleep(2)
		assert.is_false(result[1])
	end)

	it("keeps many calls in flight apart", function()
		local n, sum = 1000, 0
		parallel(n, function(i)
			local v = skynet.call(echo, "lua", "sleep", i % 3, i)
			sum = sum + v
		end)
		assert.equal(n * (n + 1) // 2, sum)
	end)

	it("carries a megabyte", function()
		local s = ("0123456789abcdef"):rep(65536)
		assert.equal(s, skynet.call(echo, "lua", "echo", s))
	end)
end)

describe("skynet.rawcall", function()
	it("gives the bytes of the answer", function()
		local echo = start()
		local msg, sz = skynet.rawcall(echo, "lua", skynet.pack("echo", 7))
		assert.equal("userdata", type(msg))
		assert.equal(7, (skynet.unpack(msg, sz)))
		msg, sz = skynet.rawcall(echo, "lua", skynet.packstring "echo")
		assert.equal(0, sz)
		assert.is_true(msg == nil or type(msg) == "userdata")
		skynet.kill(echo)
	end)
end)

describe("answers", function()
	it("can be given later, once", function()
		local echo = start()
		assert.equal("late", skynet.call(echo, "lua", "response", 2))
		skynet.kill(echo)
	end)

	it("have rules for those who answer", function()
		local seen = {}
		local self = skynet.self()
		skynet.dispatch("lua", function(session, source, cmd)
			if cmd == "twice" then
				seen.first = skynet.retpack(1)
				seen.second = table.pack(pcall(skynet.retpack, 2))
			elseif cmd == "response" then
				local r = skynet.response()
				seen.taken = table.pack(pcall(skynet.ret))
				seen.wanted = r "TEST"
				seen.sent = r(true, "x")
				seen.over = r "TEST"
				seen.again = table.pack(pcall(r, true))
			elseif cmd == "refuse" then
				skynet.response()(false)
			elseif cmd == "context" then
				local s, from = skynet.context()
				seen.same = s == session and from == source
				skynet.retpack(true)
				seen.after = skynet.context()
			elseif cmd == "sent" then
				seen.ret = skynet.retpack("nobody listens")
			elseif cmd == "inert" then
				seen.inert = select("#", skynet.response()(true))
			end
		end)
		assert.equal(1, skynet.call(self, "lua", "twice"))
		skynet.yield()
		assert.is_true(seen.first)
		assert.is_false(seen.second[1])
		assert.truthy(seen.second[2]:find "No session")
		assert.equal("x", skynet.call(self, "lua", "response"))
		assert.is_false(seen.taken[1])
		assert.is_true(seen.wanted)
		assert.is_true(seen.sent)
		assert.is_false(seen.over)
		assert.truthy(seen.again[2]:find "Can't response more than once")
		fails("call failed", skynet.call, self, "lua", "refuse")
		assert.is_true(skynet.call(self, "lua", "context"))
		skynet.yield()
		assert.is_true(seen.same)
		assert.is_nil(seen.after)
		skynet.send(self, "lua", "sent")
		skynet.send(self, "lua", "inert")
		skynet.sleep(1)
		assert.is_false(seen.ret)
		assert.equal(0, seen.inert)
		fails("No session", skynet.ret)
		fails("no session", skynet.response)
	end)
end)

describe("skynet.send", function()
	it("returns 0, or nothing for a dead address", function()
		local echo = start()
		assert.equal(0, skynet.send(echo, "lua", "echo"))
		skynet.kill(echo)
		assert.equal(0, select("#", skynet.send(echo, "lua", "echo")))
	end)

	it("keeps the order of one sender", function()
		local got = {}
		skynet.dispatch("lua", function(_, _, i)
			got[#got + 1] = i
		end)
		for i = 1, 1000 do
			skynet.send(skynet.self(), "lua", i)
		end
		skynet.yield()
		assert.equal(1000, #got)
		for i = 1, 1000 do
			assert.equal(i, got[i])
		end
	end)
end)

describe("skynet.request", function()
	it("iterates answers as they arrive, failures included", function()
		local echo = start()
		local set = skynet.request()
		set:add { echo, "lua", "sleep", 3, "slow", tag = 1 }
		set { echo, "lua", "echo", "quick", tag = 2 }
		set:add { echo, "lua", "boom", tag = 3 }
		set:add { ".nobody", "lua", tag = 4 }
		local order, result = {}, {}
		for req, resp in set:select() do
			order[#order + 1] = req.tag
			result[req.tag] = resp == nil and "none" or resp
		end
		assert.equal(4, order[1])
		assert.equal(1, order[4])
		assert.equal("slow", result[1][1])
		assert.equal("quick", result[2][1])
		assert.is_false(result[3])
		assert.equal("none", result[4])
		fails("assertion failed!", set.add, set, {})
		skynet.kill(echo)
	end)

	it("stops at its timeout, and can be left early", function()
		local echo = start()
		local set = skynet.request { echo, "lua", "never" }
		set { echo, "lua", "echo", 1 }
		local n = 0
		for _ in set:select(5) do
			n = n + 1
		end
		assert.equal(1, n)
		assert.is_true(set.timeout)
		local early = skynet.request { echo, "lua", "echo", 1 } { echo, "lua", "sleep", 2 }
		for _ in early:select() do -- luacheck: ignore 512 (left early on purpose)
			break
		end
		skynet.sleep(5)
		assert.equal("fine", skynet.call(echo, "lua", "echo", "fine"))
		skynet.kill(echo)
	end)
end)
