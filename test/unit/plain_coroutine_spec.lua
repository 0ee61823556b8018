-- Blocking calls inside coroutines of the plain library: not what they're made for, but code in
-- the field does it, and gets its answers.

local eventually = require "eventually"
local skynet = require "skynet"
require "skynet.manager"

describe("a plain coroutine that blocks", function()
	it("goes on with its answer, whatever its maker does meanwhile", function()
		local echo = skynet.newservice "echo"
		local got = {}
		local first = coroutine.wrap(function()
			got[#got + 1] = skynet.call(echo, "lua", "sleep", 2, "one")
			got[#got + 1] = skynet.call(echo, "lua", "echo", "two")
			got[#got + 1] = skynet.sleep(1) or "slept"
		end)()
		assert.equal("SUSPEND", first)
		assert.equal("mine", skynet.call(echo, "lua", "echo", "mine"))
		eventually(function()
			return #got == 3
		end)
		assert.same({ "one", "two", "slept" }, got)
		skynet.kill(echo)
	end)

	it("goes on when the handler that made it has ended", function()
		local n = 0
		for i = 1, 100 do
			skynet.fork(function()
				coroutine.wrap(function()
					skynet.sleep(i % 5)
					n = n + 1
				end)()
				if i % 2 == 0 then
					skynet.sleep(1)
				end
			end)
		end
		collectgarbage()
		eventually(function()
			collectgarbage "step"
			return n == 100
		end)
	end)

	it("hears of failures, and fails by itself", function()
		local result
		coroutine.wrap(function()
			result = table.pack(pcall(skynet.call, skynet.self(), "no_such_protocol"))
		end)()
		assert.is_false(result[1])
		local echo = skynet.newservice "echo"
		result = nil
		coroutine.wrap(function()
			result = table.pack(pcall(skynet.call, echo, "lua", "boom", "on purpose"))
			error "and now the coroutine itself"
		end)()
		eventually(function()
			return result
		end)
		assert.truthy(result[2]:find "call failed$")
		skynet.kill(echo)
	end)

	it("can be woken and killed", function()
		local woken, closed
		local co = coroutine.create(function()
			skynet.wait()
			woken = true
			local _ <close> = setmetatable({}, { __close = function()
				closed = true
			end })
			skynet.wait()
		end)
		coroutine.resume(co)
		skynet.yield()
		assert.is_true(skynet.wakeup(co))
		skynet.yield()
		assert.is_true(woken)
		assert.equal(co, skynet.killthread(co))
		assert.is_true(closed)
		assert.equal("dead", coroutine.status(co))
	end)

	it("may have been ended by its maker", function()
		local co = coroutine.create(function()
			skynet.sleep(1)
		end)
		coroutine.resume(co)
		coroutine.close(co)
		skynet.sleep(3)
		-- or is resumed by it too early
		co = coroutine.create(function()
			skynet.sleep(1)
			coroutine.yield "early"
		end)
		coroutine.resume(co)
		assert.equal("early", select(2, coroutine.resume(co, true)))
		skynet.sleep(3)
	end)
end)
