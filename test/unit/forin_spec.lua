-- Loops over tables, which the VM runs without calling their iterator: like loops that call it.

local sharetable = require "skynet.sharetable"

-- The same iterators, called.
local function called_next(t, k)
	return next(t, k)
end

local shipped_ipairs = ipairs {}
local function called_ipairs(t, i)
	return shipped_ipairs(t, i)
end

local objects = {}
for i = 1, 20 do
	objects[i] = {}
end

local function random_key(random)
	local kind = random(8)
	if kind <= 2 then
		return random(40)
	elseif kind == 3 then
		return -random(5)
	elseif kind == 4 then
		return random(40) + 0.5
	elseif kind == 5 then
		return random(2) == 1
	elseif kind == 6 then
		return objects[random(#objects)]
	elseif kind == 7 then
		return ("long"):rep(20) .. random(10)
	end
	return "key" .. random(40)
end

-- A generator that can be started again with the same numbers.
local function generator(seed)
	local state = seed
	return function(n)
		state = (state * 1103515245 + 12345) & 0x7fffffff
		return (state >> 8) % n + 1
	end
end

local function random_table(random)
	local t = {}
	for _ = 1, random(60) do
		t[random_key(random)] = random(1000)
	end
	for i = 1, random(20) - 1 do
		t[i] = i
	end
	for _ = 1, random(10) do
		t[random_key(random)] = nil
	end
	return t
end

-- What a loop gave; meanwhile fields are changed and dropped, and garbage is collected.
local function trace(iterator, t, first, random)
	local seen = {}
	for k, v in iterator, t, first do
		seen[#seen + 1] = { k, v }
		local what = random(6)
		if what == 1 then
			t[k] = nil
		elseif what == 2 then
			t[k] = v + 1
		elseif what == 3 then
			local other = random_key(random)
			if t[other] ~= nil then
				t[other] = nil
			end
		elseif what == 4 and random(10) == 1 then
			collectgarbage "step"
		end
	end
	return seen
end

describe("a loop", function()
	it("over pairs gives what next gives, whatever is assigned meanwhile", function()
		for seed = 1, 2000 do
			local a, b = generator(seed), generator(seed)
			local seen = trace(next, random_table(a), nil, a)
			assert.same(trace(called_next, random_table(b), nil, b), seen)
		end
	end)

	it("over ipairs gives what its iterator gives", function()
		for seed = 1, 2000 do
			local a, b = generator(seed), generator(seed)
			local first = seed % 5 - 2
			local seen = trace(shipped_ipairs, random_table(a), first, a)
			assert.same(trace(called_ipairs, random_table(b), first, b), seen)
		end
	end)

	it("goes on after a key that is garbage by now", function()
		local t = {}
		for i = 1, 100 do
			t[{}] = i
		end
		local n = 0
		for k in pairs(t) do
			t[k] = nil
			k = nil -- luacheck: ignore
			collectgarbage()
			n = n + 1
		end
		assert.equal(100, n)
		assert.is_nil(next(t))
	end)

	it("reads shared tables", function()
		local list, record = {}, {}
		for i = 1, 50 do
			list[i], record["key" .. i] = i * 2, i
		end
		sharetable.loadtable("forin", { list = list, record = record })
		local shared = sharetable.query "forin"
		local seen = {}
		for i, v in ipairs(shared.list) do
			seen[i] = v
		end
		assert.same(list, seen)
		seen = {}
		for k, v in pairs(shared.record) do
			seen[k] = v
		end
		assert.same(record, seen)
	end)

	it("asks metamethods", function()
		local proxy = setmetatable({ 1, 2 }, { __index = function(_, i)
			return i < 6 and i * 10 or nil
		end })
		local seen = {}
		for i, v in ipairs(proxy) do
			seen[i] = v
		end
		assert.same({ 1, 2, 30, 40, 50 }, seen)
		seen = {}
		for k, v in pairs(setmetatable({}, { __pairs = function()
			return next, { a = 1 }, nil
		end })) do
			seen[k] = v
		end
		assert.same({ a = 1 }, seen)
	end)

	it("sets all of its variables", function()
		local n = 0
		for k, v, a, b in next, { "x" } do
			assert.same({ 1, "x" }, { k, v })
			assert.is_nil(a)
			assert.is_nil(b)
			n = n + 1
		end
		for k in next, { "x" } do
			assert.equal(1, k)
			n = n + 1
		end
		assert.equal(2, n)
	end)

	it("counts past the largest integer as the iterator does", function()
		local t = { [math.mininteger] = "least" }
		local i, v
		for k, value in shipped_ipairs, t, math.maxinteger do
			i, v = k, value
		end
		assert.same({ math.mininteger, "least" }, { i, v })
	end)

	it("fails as the call fails", function()
		local function failure(iterator, t, first)
			local ok, err = pcall(function()
				for _ in iterator, t, first do -- luacheck: ignore
				end
			end)
			assert.is_false(ok)
			return err
		end
		assert.equal("invalid key to 'next'", failure(next, {}, "nobody"))
		assert.equal("invalid key to 'next'", failure(next, { 1, 2 }, 7))
		assert.equal("invalid key to 'next'", failure(next, { 1, 2 }, 1.0))
		local bad = "bad argument #%d to 'for iterator' (%s expected"
		assert.truthy(failure(next, 5):find(bad:format(1, "table"), 1, true))
		assert.truthy(failure(shipped_ipairs, {}, "x"):find(bad:format(2, "number"), 1, true))
		assert.truthy(failure(shipped_ipairs, nil, 0):find("attempt to index a nil value", 1, true))
	end)

	it("takes a number in any form where the iterator does", function()
		local seen = {}
		for i, v in shipped_ipairs, { "a", "b" }, "1" do
			seen[i] = v
		end
		assert.same({ [2] = "b" }, seen)
	end)

	it("lets a hook see the calls", function()
		local calls = 0
		debug.sethook(function()
			if debug.getinfo(2, "f").func == next then
				calls = calls + 1
			end
		end, "c")
		for _ in pairs { 1, 2, 3 } do -- luacheck: ignore
		end
		debug.sethook()
		assert.equal(4, calls)
	end)

	it("closes its fourth value", function()
		local closed = 0
		local closer = setmetatable({}, { __close = function()
			closed = closed + 1
		end })
		for _ in next, { 1 }, nil, closer do -- luacheck: ignore
		end
		for _ in next, { 1 }, nil, closer do -- luacheck: ignore
			break
		end
		assert.equal(2, closed)
	end)

	it("may yield in its body", function()
		local co = coroutine.wrap(function()
			for k, v in pairs { a = 1 } do
				coroutine.yield(k, v)
			end
			for i, v in ipairs { "x", "y" } do
				coroutine.yield(i, v)
			end
			return "end"
		end)
		assert.same({ "a", 1 }, { co() })
		assert.same({ 1, "x" }, { co() })
		assert.same({ 2, "y" }, { co() })
		assert.equal("end", co())
	end)
end)
