-- mqueue: one message at a time, in order; errors with their text.

local skynet = require "skynet"
local mqueue = require "skynet.mqueue"
require "skynet.manager"

describe("skynet.mqueue", function()
	local s

	setup(function()
		s = skynet.newservice "queued"
	end)

	teardown(function()
		skynet.kill(s)
	end)

	it("returns results", function()
		assert.same({ 1, "x", nil, { y = 2 }, n = 4 },
			table.pack(mqueue.call(s, "echo", 1, "x", nil, { y = 2 })))
		assert.equal(0, select("#", mqueue.call(s, "echo")))
	end)

	it("raises the other side's error text", function()
		local ok, err = pcall(mqueue.call, s, "fail", "the remote text")
		assert.is_false(ok)
		assert.equal("the remote text", err)
		ok, err = pcall(mqueue.call, s, "unpackable")
		assert.is_false(ok)
		assert.truthy(err:find "serialize")
	end)

	it("handles messages one at a time, in order", function()
		local left = 20
		local co = coroutine.running()
		for i = 1, left do
			mqueue.send(s, "m" .. i)
			mqueue.send(s, i % 5 == 0 and "fail" or "sleep", 1)
		end
		for _ = 1, left do
			skynet.fork(function()
				mqueue.call(s, "sleep", 0)
				left = left - 1
				if left == 0 then
					skynet.wakeup(co)
				end
			end)
		end
		skynet.wait(co)
		local order = mqueue.call(s, "log")
		local n = 0
		for i in order:gmatch "m(%d+)" do
			n = n + 1
			assert.equal(n, tonumber(i))
		end
		assert.equal(20, n)
	end)

	it("tells how many wait", function()
		for _ = 1, 5 do
			mqueue.send(s, "sleep", 5)
		end
		assert.equal(4, skynet.call(s, "lua", "size"))
		assert.equal(0, mqueue.call(s, "size"))
	end)

	it("survives errors and truthy results of sends", function()
		mqueue.send(s, "fail", "logged")
		mqueue.send(s, "echo", true)
		assert.equal("alive", mqueue.call(s, "echo", "alive"))
	end)

	it("goes on when the handler's coroutine is killed", function()
		local err
		skynet.fork(function()
			err = select(2, pcall(mqueue.call, s, "sleep", 1000000))
		end)
		skynet.sleep(0)
		mqueue.send(s, "echo")
		assert.equal(1, skynet.call(s, "lua", "size"))
		skynet.call(s, "lua", "kill")
		assert.equal("alive", mqueue.call(s, "echo", "alive"))
		assert.equal("the handler was killed", err)
	end)

	it("fails when the service is gone, and registers once", function()
		local dead = skynet.newservice "queued"
		skynet.kill(dead)
		assert.is_false((pcall(mqueue.call, dead, "echo")))
		assert.is_false((pcall(mqueue.register, nil)))
		mqueue.register(function() end)
		assert.is_false((pcall(mqueue.register, function() end)))
	end)
end)
