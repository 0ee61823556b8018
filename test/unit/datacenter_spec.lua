-- The datacenter: a tree of values, and waiting for them.

local skynet = require "skynet"
local datacenter = require "skynet.datacenter"

local function fails(f, ...)
	local ok, err = pcall(f, ...)
	assert.is_false(ok)
	assert.equal("call failed", tostring(err):sub(-11))
end

-- Wait for a path in a coroutine; the result appears in the table.
local function waiter(...)
	local result = {}
	skynet.fork(function(...)
		result.ok, result.value = pcall(datacenter.wait, ...)
		result.done = true
	end, ...)
	skynet.sleep(0)
	datacenter.get "barrier" -- the wait is there by now: same sender, same receiver
	return result
end

local function done(result)
	for _ = 1, 3000 do
		if result.done then
			return result
		end
		skynet.sleep(1)
	end
	error "still waiting"
end

describe("skynet.datacenter", function()
	it("stores values, and tells what was there", function()
		assert.is_nil((datacenter.set("a", "b", 1)))
		assert.equal(1, datacenter.set("a", "b", 2))
		assert.equal(2, datacenter.get("a", "b"))
		assert.same({ b = 2 }, datacenter.get "a")
		assert.is_nil((datacenter.get("a", "c")))
		assert.is_nil((datacenter.get("none", "of", "this")))
		assert.is_nil((datacenter.get()))
		datacenter.set("a", "f", false)
		assert.equal(false, datacenter.get("a", "f"))
	end)

	it("returns branches as copies, and takes tables apart", function()
		datacenter.set("t", { x = { y = 1 } })
		assert.equal(1, datacenter.get("t", "x", "y"))
		datacenter.get("t").x.y = 5
		assert.equal(1, datacenter.get("t", "x", "y"))
		datacenter.set("t", "x", "z", 2)
		assert.same({ x = { y = 1, z = 2 } }, datacenter.get "t")
	end)

	it("deletes with nil", function()
		datacenter.set("d", "k", 1)
		assert.equal(1, datacenter.set("d", "k", nil))
		assert.is_nil((datacenter.get("d", "k")))
		datacenter.set "d"
		assert.is_nil((datacenter.get "d"))
	end)

	it("fails on a plain value in the way", function()
		datacenter.set("s", 1)
		fails(datacenter.set, "s", "k", 1)
		fails(datacenter.get, "s", "k")
		fails(datacenter.wait, "s", "k")
		fails(datacenter.set, nil, 1)
		fails(skynet.call, "DATACENTER", "lua", "NONSENSE")
	end)

	it("answers who waits", function()
		local one, two = waiter("w", "x"), waiter("w", "x")
		local other = waiter("w", "y")
		datacenter.set("w", "x", "value")
		assert.same({ ok = true, value = "value", done = true }, done(one))
		assert.same({ ok = true, value = "value", done = true }, done(two))
		assert.equal("value", datacenter.wait("w", "x"))
		assert.is_nil(other.done)
		datacenter.set("w", "y", false)
		assert.equal(false, done(other).value)
	end)

	it("answers who waits below a table that is set", function()
		local b, c = waiter("deep", "a", "b"), waiter("deep", "a", "c")
		datacenter.set("deep", { a = { b = 1 } })
		assert.equal(1, done(b).value)
		assert.is_nil(c.done)
		datacenter.set("deep", "a", "c", 2)
		assert.equal(2, done(c).value)
	end)

	it("fails who waits for what can't come", function()
		local below = waiter("f", "a", "b")
		datacenter.set("f", "a", "a plain value")
		assert.is_false(done(below).ok)
		local value = waiter("g")
		datacenter.set("g", "sub", 1)
		assert.is_false(done(value).ok)
		-- and those after it don't suffer
		datacenter.set("g", nil)
		local again = waiter("g", "sub")
		datacenter.set("g", "sub", 2)
		assert.equal(2, done(again).value)
	end)

	it("doesn't mix waiting for values and for what is below them", function()
		local below = waiter("m", "x")
		fails(datacenter.wait, "m")
		local value = waiter "n"
		fails(datacenter.wait, "n", "x")
		datacenter.set("m", "x", 1)
		datacenter.set("n", 2)
		assert.equal(1, done(below).value)
		assert.equal(2, done(value).value)
	end)

	it("takes any key, also those it might use itself", function()
		for _, key in ipairs { "list", "responses", "below", 1, 2.5, true } do
			local r = waiter("keys", key, key)
			datacenter.set("keys", key, key, 1)
			assert.equal(1, done(r).value)
		end
	end)
end)
