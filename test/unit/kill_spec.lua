-- Killing coroutines in every state they can be in, and what they held.

local eventually = require "eventually"
local skynet = require "skynet"
local queue = require "skynet.queue"
require "skynet.manager"

-- A coroutine that runs f, blocked in it.
local function blocked(f, ...)
	local co = skynet.fork(f, ...)
	skynet.yield()
	return co
end

local function closing(note, what)
	return setmetatable({}, { __close = function(_, err)
		note[#note + 1] = what .. ":" .. tostring(err)
	end })
end

describe("skynet.killthread", function()
	it("finds a coroutine by its text, as a pattern", function()
		local co = blocked(skynet.wait)
		local text = tostring(co):match "0x%x+"
		assert.equal(co, skynet.killthread(text))
		assert.equal(0, select("#", skynet.killthread(text)))
		assert.equal(0, select("#", skynet.killthread "no such thread"))
	end)

	it("closes to-be-closed variables with nil, past every pcall", function()
		local note = {}
		local co = blocked(function()
			local _ <close> = closing(note, "outer")
			local ok = pcall(function()
				local _ <close> = closing(note, "inner")
				skynet.sleep(100000)
			end)
			note[#note + 1] = "caught " .. tostring(ok)
		end)
		assert.equal(co, skynet.killthread(co))
		assert.same({ "inner:nil", "outer:nil" }, note)
	end)

	it("survives an error object whose text can't be had", function()
		local mute = setmetatable({}, { __tostring = function() error "no text" end })
		local co = blocked(function()
			local _ <close> = setmetatable({}, { __close = function() error(mute) end })
			skynet.wait()
		end)
		assert.equal(co, skynet.killthread(co))
		local woken
		skynet.fork(error, mute)
		skynet.fork(function() woken = true end)
		eventually(function() return woken end)
	end)

	it("drops the answer to the call it was in, silently", function()
		local echo = skynet.newservice "echo"
		local unknown = false
		local previous = skynet.dispatch_unknown_response(function()
			unknown = true
		end)
		local co = blocked(skynet.call, echo, "lua", "sleep", 2, "late")
		assert.equal(co, skynet.killthread(co))
		assert.equal("after", skynet.call(echo, "lua", "sleep", 5, "after"))
		skynet.dispatch_unknown_response(previous)
		assert.is_false(unknown)
		skynet.kill(echo)
	end)

	it("drops the timer of a sleeper and of a timeout, silently", function()
		local unknown, fired = false, false
		local previous = skynet.dispatch_unknown_response(function()
			unknown = true
		end)
		local co = blocked(skynet.sleep, 2)
		assert.equal(co, skynet.killthread(co))
		local timer = skynet.timeout(2, function()
			fired = true
		end)
		assert.equal(timer, skynet.killthread(timer))
		skynet.sleep(6)
		skynet.dispatch_unknown_response(previous)
		assert.is_false(unknown)
		assert.is_false(fired)
	end)

	it("kills a handler that has answered, or taken its right to", function()
		local answered, taken, response
		skynet.dispatch("lua", function(_, _, how)
			if how == "answer" then
				answered = coroutine.running()
				skynet.retpack "fine"
			else
				taken = coroutine.running()
				response = skynet.response()
			end
			skynet.wait()
		end)
		assert.equal("fine", skynet.call(skynet.self(), "lua", "answer"))
		local result
		skynet.fork(function()
			result = skynet.call(skynet.self(), "lua", "take")
		end)
		eventually(function() return taken end)
		assert.equal(answered, skynet.killthread(answered))
		assert.equal(taken, skynet.killthread(taken))
		response(true, "later")
		eventually(function() return result end)
		assert.equal("later", result)
	end)

	it("fails the caller of what the coroutine handled", function()
		local handler
		skynet.dispatch("lua", function()
			handler = coroutine.running()
			skynet.sleep(100000)
		end)
		local ok, err
		skynet.fork(function()
			ok, err = pcall(skynet.call, skynet.self(), "lua")
		end)
		eventually(function() return handler end)
		assert.equal(handler, skynet.killthread(handler))
		eventually(function() return ok ~= nil end)
		assert.is_false(ok)
		assert.truthy(err:find "call failed$")
	end)

	it("doesn't kill what runs or has ended, and refuses what is no thread", function()
		assert.equal(0, select("#", skynet.killthread(coroutine.running())))
		local dead = skynet.fork(function() end)
		skynet.yield()
		assert.equal(0, select("#", skynet.killthread(dead)))
		assert.equal(0, select("#", skynet.killthread(coroutine.create(print))))
		assert.is_false((pcall(skynet.killthread, 5)))
		assert.is_false((pcall(skynet.killthread)))
	end)

	it("survives errors in what it closes", function()
		local co = blocked(function()
			local _ <close> = setmetatable({}, { __close = function()
				error "on purpose"
			end })
			skynet.wait()
		end)
		assert.equal(co, skynet.killthread(co))
		skynet.yield()
	end)

	it("leaves a token free for the next", function()
		local token = {}
		local co = blocked(skynet.wait, token)
		assert.equal(co, skynet.killthread(co))
		local woken
		blocked(function()
			skynet.wait(token)
			woken = true
		end)
		assert.is_true(skynet.wakeup(token))
		skynet.yield()
		assert.is_true(woken)
	end)

	it("reuses what it killed", function()
		for _ = 1, 1000 do
			skynet.killthread(blocked(skynet.wait))
		end
		assert.is_true(require "skynet.dispatch".inspect "pool" < 100)
	end)
end)

describe("skynet.queue and killed coroutines", function()
	local function enter(q, order, name, f)
		return skynet.fork(q, function()
			order[#order + 1] = name
			if f then
				f()
			end
		end)
	end

	it("goes on when the one inside is killed", function()
		local q, order = queue(), {}
		local a = enter(q, order, "a", skynet.wait)
		enter(q, order, "b")
		skynet.yield()
		assert.same({ "a" }, order)
		skynet.killthread(a)
		skynet.yield()
		assert.same({ "a", "b" }, order)
	end)

	it("goes on when one in line is killed, first or last", function()
		local q, order = queue(), {}
		local a = enter(q, order, "a", skynet.wait)
		local b = enter(q, order, "b")
		enter(q, order, "c")
		local d = enter(q, order, "d")
		skynet.yield()
		skynet.killthread(d)
		skynet.killthread(b)
		skynet.killthread(a)
		skynet.yield()
		assert.same({ "a", "c" }, order)
		assert.equal(5, q(function() return 5 end))
	end)

	it("goes on when one is killed whose turn has just come", function()
		local q, order = queue(), {}
		local go = {}
		enter(q, order, "a", function() skynet.wait(go) end)
		local b = enter(q, order, "b")
		enter(q, order, "c")
		skynet.yield()
		skynet.fork(function() -- runs between a's end and b's beginning
			skynet.wakeup(go)
		end)
		local killer = skynet.fork(function()
			skynet.killthread(b)
		end)
		assert.truthy(killer)
		skynet.yield()
		skynet.yield()
		assert.is_true(order[#order] == "c")
		assert.equal(5, q(function() return 5 end))
	end)

	it("leaves nested entries together", function()
		local q, order = queue(), {}
		local a = skynet.fork(q, function()
			q(function()
				order[#order + 1] = "a"
				skynet.wait()
			end)
		end)
		enter(q, order, "b")
		skynet.yield()
		skynet.killthread(a)
		skynet.yield()
		assert.same({ "a", "b" }, order)
	end)

	it("isn't confused by a wake-up from outside", function()
		local q, order = queue(), {}
		local go = {}
		enter(q, order, "a", function() skynet.wait(go) end)
		local failed
		local b = skynet.fork(function()
			failed = select(2, pcall(q, function() end))
			skynet.sleep(1) -- sleeps on itself, as the queue did
			order[#order + 1] = "b"
		end)
		enter(q, order, "c")
		skynet.yield()
		skynet.wakeup(b)
		skynet.wakeup(go)
		eventually(function() return order[3] end)
		assert.truthy(failed:find "woken from outside")
		assert.same({ "a", "c", "b" }, order)
	end)
end)
