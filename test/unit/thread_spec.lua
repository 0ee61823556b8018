-- Coroutines of a service: fork, sleep, wait, wakeup, timers, kill; and what tells of them.

local skynet = require "skynet"

local function fails(text, f, ...)
	local ok, err = pcall(f, ...)
	assert.is_false(ok)
	assert.truthy(tostring(err):find(text, 1, true), tostring(err))
end

describe("skynet.fork", function()
	it("runs after the current coroutine, forks of forks too, before timers", function()
		local order = {}
		local function note(s)
			order[#order + 1] = s
		end
		skynet.fork(function()
			note "f1"
			skynet.fork(note, "f3")
		end)
		skynet.fork(note, "f2")
		skynet.timeout(0, function() note "t0" end)
		skynet.yield()
		note "y"
		assert.equal("f1 f2 f3 t0 y", table.concat(order, " "))
	end)

	it("passes arguments, nils included", function()
		local got
		skynet.fork(function(...)
			got = table.pack(...)
		end, 1, nil, 3, nil)
		skynet.yield()
		assert.same({ n = 4, 1, nil, 3, nil }, got)
	end)

	it("survives an error in one of many", function()
		local ran = 0
		for i = 1, 5 do
			skynet.fork(function()
				ran = ran + 1
				if i == 3 then
					error "on purpose"
				end
			end)
		end
		skynet.yield()
		assert.equal(5, ran)
	end)
end)

describe("skynet.sleep and skynet.wakeup", function()
	it("say whether time ran out", function()
		assert.equal(0, select("#", skynet.sleep(1)))
		local result
		local co = skynet.fork(function()
			result = skynet.sleep(10000)
		end)
		skynet.yield()
		assert.is_true(skynet.wakeup(co))
		skynet.yield()
		assert.equal("BREAK", result)
		assert.equal(0, select("#", skynet.wakeup(co)))
	end)

	it("use tokens, one sleeper each", function()
		local token, woken = {}, false
		skynet.fork(function()
			skynet.wait(token)
			woken = true
		end)
		skynet.yield()
		fails("token duplicative", skynet.wait, token)
		skynet.wakeup(token)
		skynet.yield()
		assert.is_true(woken)
	end)

	it("wake in the order of the wake-ups, before forks", function()
		local order, cos = {}, {}
		for i = 1, 3 do
			cos[i] = skynet.fork(function()
				skynet.wait()
				order[#order + 1] = i
			end)
		end
		skynet.yield()
		skynet.fork(function()
			order[#order + 1] = "fork"
		end)
		skynet.wakeup(cos[3])
		skynet.wakeup(cos[1])
		skynet.wakeup(cos[2])
		order[#order + 1] = "main"
		skynet.yield()
		assert.equal("main 3 1 2 fork", table.concat(order, " "))
	end)

	it("sleep for about as long as asked", function()
		local begin = skynet.hpc()
		skynet.sleep(10)
		local ms = (skynet.hpc() - begin) / 1e6
		assert.is_true(ms >= 89, ms)
	end)
end)

describe("skynet.timeout", function()
	it("fires in order of time", function()
		local order = {}
		for _, t in ipairs { 5, 1, 3 } do
			skynet.timeout(t, function()
				order[#order + 1] = t
			end)
		end
		skynet.sleep(8)
		assert.equal("1 3 5", table.concat(order, " "))
	end)

	it("refuses what isn't an integer", function()
		fails("number has no integer representation", skynet.timeout, 1.5, print)
		fails("bad argument", skynet.timeout, nil, print)
	end)

	it("can hold ten thousand", function()
		local n = 0
		for i = 1, 10000 do
			skynet.timeout(i % 20, function()
				n = n + 1
			end)
		end
		for _ = 1, 600 do
			if n == 10000 then
				break
			end
			skynet.sleep(1)
		end
		assert.equal(10000, n)
	end)
end)

describe("skynet.killthread", function()
	it("ends a blocked coroutine and runs what it must close", function()
		local closed
		local co = skynet.fork(function()
			local _ <close> = setmetatable({}, { __close = function()
				closed = true
			end })
			skynet.wait()
		end)
		skynet.yield()
		assert.equal(co, skynet.killthread(co))
		assert.is_true(closed)
		assert.equal(0, select("#", skynet.killthread(co)))
	end)

	it("ends a fork that hasn't begun", function()
		local ran
		local co = skynet.fork(function()
			ran = true
		end)
		assert.equal(co, skynet.killthread(co))
		skynet.yield()
		assert.is_nil(ran)
	end)

	it("fails the call of whoever waits for it", function()
		local thread
		skynet.dispatch("lua", function()
			thread = coroutine.running()
			skynet.wait()
		end)
		local ok = true
		skynet.fork(function()
			ok = pcall(skynet.call, skynet.self(), "lua")
		end)
		skynet.sleep(1)
		assert.equal(thread, skynet.killthread(thread))
		skynet.sleep(1)
		assert.is_false(ok)
	end)
end)

describe("skynet.task", function()
	it("counts and shows who is blocked", function()
		local before = skynet.task()
		local co = skynet.fork(function()
			skynet.wait "a token of task_spec"
		end)
		skynet.yield()
		assert.equal(before + 1, skynet.task())
		local session = skynet.task(co)
		assert.equal("number", type(session))
		assert.truthy(skynet.task(session):find "stack traceback")
		local all = {}
		skynet.task(all)
		local found
		for k in pairs(all) do
			found = found or k == ("%s session: %d"):format(co, session)
		end
		assert.is_true(found)
		local n = 0
		for k in pairs(skynet.uniqtask()) do
			n = n + tonumber(k:match "^(%d+)\tsessions:%[")
		end
		assert.is_true(n >= 1)
		skynet.wakeup "a token of task_spec"
		skynet.yield()
		assert.equal("No session", skynet.task(session))
	end)
end)

describe("clocks", function()
	it("agree with each other and with the system", function()
		assert.is_true(math.abs(os.time() - skynet.time()) < 3)
		assert.is_true(math.abs(skynet.starttime() + skynet.now() / 100 - skynet.time()) < 0.02)
		assert.equal("integer", math.type(skynet.now()))
		assert.equal("integer", math.type(skynet.hpc()))
		local a = skynet.hpc()
		assert.is_true(skynet.hpc() >= a)
	end)
end)

describe("skynet.queue", function()
	local queue = require "skynet.queue"

	it("lets one coroutine in at a time, in order", function()
		local q, order = queue(), {}
		for i = 1, 3 do
			skynet.fork(function()
				q(function()
					order[#order + 1] = "in" .. i
					skynet.sleep(1)
					order[#order + 1] = "out" .. i
				end)
			end)
		end
		skynet.sleep(10)
		assert.equal("in1 out1 in2 out2 in3 out3", table.concat(order, " "))
	end)

	it("is re-entrant, returns results, and passes errors on", function()
		local q = queue()
		assert.same({ 1, 2 }, { q(function()
			return q(function() return 1, 2 end)
		end) })
		local ok, err = pcall(q, function() error "broken" end)
		assert.is_false(ok)
		assert.truthy(err:find "broken")
		assert.equal(7, q(function() return 7 end))
	end)
end)

describe("skynet.coroutine", function()
	local coroutine = require "skynet.coroutine"

	it("lets coroutines block, and yield values", function()
		local co = coroutine.create(function(a)
			skynet.sleep(1)
			local b = coroutine.yield(a + 1)
			skynet.yield()
			return b * 2
		end)
		assert.same({ true, 2 }, { coroutine.resume(co, 1) })
		assert.equal("suspended", coroutine.status(co))
		assert.same({ true, 20 }, { coroutine.resume(co, 10) })
		assert.equal("dead", coroutine.status(co))
		local ok, err = coroutine.resume(co)
		assert.is_false(ok)
		assert.equal("cannot resume dead coroutine", err)
	end)

	it("knows who is blocked in the framework", function()
		local co = coroutine.create(function()
			skynet.sleep(5)
		end)
		skynet.fork(function()
			coroutine.resume(co)
		end)
		skynet.yield()
		assert.equal("blocked", coroutine.status(co))
		local ok, err = coroutine.resume(co)
		assert.is_false(ok)
		assert.equal("cannot resume a skynet coroutine suspend by skynet framework", err)
		skynet.sleep(10)
	end)

	it("wraps", function()
		local f = coroutine.wrap(function()
			for i = 1, 3 do
				skynet.yield()
				coroutine.yield(i)
			end
		end)
		assert.same({ 1, 2, 3 }, { f(), f(), f() })
	end)

	it("refuses what it didn't make", function()
		local ok, err = coroutine.resume(_G.coroutine.create(print))
		assert.is_false(ok)
		assert.equal("cannot resume none skynet coroutine", err)
	end)
end)

describe("a timer", function()
	it("isn't late when the handler that sets it runs on for a while", function()
		local function busy(ms)
			local since = skynet.hpc()
			while skynet.hpc() - since < ms * 1000000 do end -- luacheck: ignore
		end
		-- another worker waits for all meanwhile; the watchdog looks before and after the timer
		-- is set; then nothing but the timer can wake the node
		for _ = 1, 20 do
			skynet.sleep(10)
			local begin = skynet.now()
			local co = coroutine.running()
			busy(10)
			skynet.timeout(5, function()
				skynet.wakeup(co)
			end)
			busy(15)
			skynet.wait(co)
			assert.is_true(skynet.now() - begin < 500)
		end
	end)
end)

describe("skynet.profile", function()
	local profile = require "skynet.profile"

	it("measures a coroutine's own time", function()
		profile.start()
		local begin = os.clock()
		while os.clock() - begin < 0.05 do end
		skynet.sleep(20)
		local t = profile.stop()
		assert.is_true(t >= 0.03 and t < 0.2, t)
		fails("Call profile.start() before profile.stop()", profile.stop)
	end)

	it("ends with the task, however that ends", function()
		-- pooled coroutines run the next tasks: those start clean
		local ok, failed = 0, 0
		for _, how in ipairs { "return", "raise", "raise", "return", "return" } do
			local good, err
			skynet.fork(function()
				good, err = pcall(profile.start)
				if how == "raise" then
					skynet.timeout(0, function()
						profile.start()
						error "on purpose"
					end)
				end
			end)
			skynet.sleep(1)
			ok = ok + (good and 1 or 0)
			failed = failed + (good and 0 or 1)
			assert.is_true(good, err)
		end
		assert.same({ 5, 0 }, { ok, failed })
	end)
end)
