-- What a service can do wrong, and that the rest goes on: errors in every kind of callback,
-- memory, endless loops, coroutines that never return, session numbers that wrap.

local eventually = require "eventually"
local skynet = require "skynet"
local core = require "skynet.core"
require "skynet.manager"

local function fails(f, ...)
	local ok, err = pcall(f, ...)
	assert.is_false(ok)
	return tostring(err)
end

describe("a service", function()
	local s

	before_each(function()
		s = skynet.newservice "faulty"
	end)

	after_each(function()
		assert.equal("alive", skynet.call(s, "lua", "echo", "alive"))
		skynet.kill(s)
	end)

	it("survives errors in timers, forks, finalisers", function()
		skynet.call(s, "lua", "timer")
		skynet.call(s, "lua", "fork")
		skynet.call(s, "lua", "gc")
	end)

	it("survives errors in handlers and what they close; the caller hears of it", function()
		for _, cmd in ipairs { "close", "close_after_error", "strange_error", "nil_error", "overflow",
			"queue", "yield_word", "no_such_command" } do
			assert.truthy(fails(skynet.call, s, "lua", cmd):find "call failed$", cmd)
		end
	end)

	it("answers a request it can't unpack with an error", function()
		skynet.register_protocol { name = "broken", id = 80, pack = skynet.pack,
			unpack = skynet.unpack }
		assert.truthy(fails(skynet.call, s, "broken", 1):find "call failed$")
		skynet.send(s, "broken", 1)
		assert.truthy(fails(skynet.rawcall, s, "lua", "\7garbage"):find "call failed$")
		skynet.rawsend(s, "lua", "\7garbage")
	end)

	it("can answer again when the packer of a response raised", function()
		assert.equal("second try", skynet.call(s, "lua", "response"))
	end)

	it("survives errors in socket callbacks", function()
		local socket = require "skynet.socket"
		local port = skynet.call(s, "lua", "listen")
		for _ = 1, 3 do
			local id = assert(socket.open("127.0.0.1", port))
			assert.is_false((socket.read(id)))
			socket.close(id)
		end
	end)

	it("is broken out of endless loops, and fails the caller", function()
		for _, cmd in ipairs { "loop", "nested_loop" } do
			local result
			skynet.fork(function()
				result = table.pack(pcall(skynet.call, s, "lua", cmd))
			end)
			eventually(function()
				core.command("SIGNAL", skynet.address(s) .. " 0")
				return result
			end)
			assert.is_false(result[1], cmd)
			assert.truthy(result[2]:find "call failed$")
		end
	end)

	it("is broken again and again, also where it was broken before", function()
		for _ = 1, 20 do
			local result
			skynet.fork(function()
				result = table.pack(pcall(skynet.call, s, "lua", "loop"))
			end)
			for _ = 1, 500 do
				core.command("SIGNAL", skynet.address(s) .. " 0")
				if result then
					break
				end
				skynet.sleep(1)
			end
			assert.is_false(result[1])
		end
	end)

	it("may catch the signal, and is broken again by the next", function()
		local result
		skynet.fork(function()
			result = skynet.call(s, "lua", "stubborn")
		end)
		eventually(function()
			core.command("SIGNAL", skynet.address(s))
			return result
		end)
		assert.equal(2, result)
	end)

	it("isn't harmed by a signal when it's idle", function()
		core.command("SIGNAL", skynet.address(s) .. " 0")
		for i = 1, 5 do
			assert.equal(i, skynet.call(s, "lua", "echo", i))
		end
	end)

	it("fails callers of parked coroutines when it ends", function()
		local result
		skynet.fork(function()
			result = table.pack(pcall(skynet.call, s, "lua", "park"))
		end)
		skynet.sleep(5)
		assert.is_nil(result)
		skynet.kill(s)
		eventually(function()
			return result
		end)
		assert.is_false(result[1])
		s = skynet.newservice "faulty"
	end)
end)

describe("skynet.memlimit", function()
	it("stops a service that grows, which goes on afterwards", function()
		local s = skynet.newservice("faulty", 8 << 20)
		for _ = 1, 10 do
			assert.truthy(fails(skynet.call, s, "lua", "grow"):find "call failed$")
			assert.equal("alive", skynet.call(s, "lua", "echo", "alive"))
		end
		assert.is_true(skynet.call(s, "debug", "MEM") < 8 << 10)
		skynet.kill(s)
	end)

	it("works once", function()
		local s = skynet.newservice "faulty"
		local ok, out = skynet.call(s, "debug", "RUN",
			"local skynet = require 'skynet' skynet.memlimit(1 << 30) print(skynet.memlimit)")
		assert.is_true(ok)
		assert.equal("nil", out)
		skynet.kill(s)
	end)
end)

describe("session numbers", function()
	local MAX = 0x7fffffff
	local setter

	setup(function()
		setter = skynet.launch "setsession"
		skynet.register_protocol { name = "text", id = skynet.PTYPE_TEXT,
			pack = tostring, unpack = skynet.tostring }
	end)

	teardown(function()
		skynet.kill(setter)
	end)

	local function set(n)
		skynet.rawcall(setter, "text", ("%s %d"):format(skynet.address(skynet.self()), n))
	end

	it("wrap to 1", function()
		local before = skynet.genid()
		set(MAX - 2)
		assert.equal(MAX - 1, skynet.genid())
		assert.equal(MAX, skynet.genid())
		assert.equal(1, skynet.genid())
		set(before)
	end)

	it("skip those that are in use", function()
		local before = skynet.genid()
		local echo = skynet.newservice "echo"
		set(2)
		local sleepers, results = {}, {}
		for i = 1, 3 do -- sessions 4, 5, 6
			sleepers[i] = skynet.fork(function()
				results[i] = skynet.sleep(100000)
			end)
		end
		skynet.fork(function() -- session 7
			results.call = skynet.call(echo, "lua", "sleep", 20, "right")
		end)
		skynet.yield() -- session 3, and the forks run
		for i = 4, 7 do
			assert.truthy(skynet.task(i):find "stack traceback", i)
		end
		set(MAX - 1)
		-- these wrap, and would use 4 to 7 again
		for i = 1, 50 do
			assert.equal(i, skynet.call(echo, "lua", "echo", i))
		end
		for i = 1, 3 do
			assert.is_true(skynet.wakeup(sleepers[i]))
		end
		skynet.yield()
		assert.same({ "BREAK", "BREAK", "BREAK" }, { results[1], results[2], results[3] })
		eventually(function()
			return results.call
		end)
		assert.equal("right", results.call)
		set(before)
		skynet.kill(echo)
	end)
end)

describe("blocks", function()
	it("thrown away twice, or thrown away and sent, raise", function()
		local msg, sz = skynet.pack("x", 1)
		skynet.trash(msg, sz)
		local ok, err = pcall(skynet.trash, msg, sz)
		assert.is_false(ok)
		assert.truthy(err:find "thrown away before")
		ok, err = pcall(skynet.rawsend, skynet.self(), "lua", msg, sz)
		assert.is_false(ok)
		assert.truthy(err:find "given to skynet.trash before")
		for _ = 1, 100 do -- more than are kept
			skynet.trash(skynet.pack(1))
		end
		skynet.trash "a string is nothing to throw away"
	end)

	it("that can't be any raise", function()
		local null = skynet.unpack("\3" .. ("\0"):rep(8))
		local small = skynet.unpack("\3\1" .. ("\0"):rep(7))
		assert.equal("x", skynet.tostring("x", 1))
		assert.equal(0, select("#", skynet.tostring()))
		assert.equal("", skynet.tostring(null, 0))
		for _, f in ipairs { skynet.tostring, skynet.unpack, skynet.trash } do
			assert.is_false((pcall(f, small, 10)))
			assert.is_false((pcall(f, {}, 10)))
		end
		assert.is_false((pcall(skynet.tostring, null, 10)))
		assert.is_false((pcall(skynet.unpack, null, 10)))
		assert.is_false((pcall(skynet.unpack, "\7\7\7")))
		assert.is_false((pcall(skynet.rawsend, skynet.self(), "lua", small, 10)))
	end)
end)
