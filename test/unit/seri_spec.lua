-- Serialisation: every byte vector of the format, limits, and hostile input.

local c = require "skynet.core"

local function hex(s)
	return (s:gsub(".", function(b)
		return ("%02x"):format(b:byte())
	end))
end

local function vector(bytes, ...)
	return (bytes:gsub("%s", "")), table.pack(...)
end

local vectors = {
	{ vector("") },
	{ vector("00", nil) },
	{ vector("09", true) },
	{ vector("01", false) },
	{ vector("02", 0) },
	{ vector("0a 01", 1) },
	{ vector("0a ff", 255) },
	{ vector("12 00 01", 256) },
	{ vector("12 ff ff", 65535) },
	{ vector("22 00 00 01 00", 65536) },
	{ vector("22 ff ff ff 7f", 2147483647) },
	{ vector("32 00 00 00 80 00 00 00 00", 2147483648) },
	{ vector("22 ff ff ff ff", -1) },
	{ vector("22 00 00 00 80", -2147483648) },
	{ vector("32 ff ff ff 7f ff ff ff ff", -2147483649) },
	{ vector("32 ff ff ff ff ff ff ff 7f", math.maxinteger) },
	{ vector("32 00 00 00 00 00 00 00 80", math.mininteger) },
	{ vector("42 00 00 00 00 00 00 f0 3f", 1.0) },
	{ vector("42 1f 85 eb 51 b8 1e 09 40", 3.14) },
	{ vector("04", "") },
	{ vector("2c 68 65 6c 6c 6f", "hello") },
	{ vector("06 00", {}) },
	{ vector("1e 0a 01 0a 02 0a 03 00", { 1, 2, 3 }) },
	{ vector("06 0c 61 0a 01 00", { a = 1 }) },
	{ vector("0e 0a 01 0c 61 0a 02 00", { 1, a = 2 }) },
	{ vector("16 0a 0a 0a 14 0c 78 42 00 00 00 00 00 00 f8 3f 00", { 10, 20, x = 1.5 }) },
	{ vector("16 06 0c 61 0a 01 00 06 0c 61 0a 02 00 00", { { a = 1 }, { a = 2 } }) },
	{ vector("06 09 0a 01 00", { [true] = 1 }) },
	{ vector("0a 01 0c 61 00 06 0c 78 0a 01 00 01", 1, "a", nil, { x = 1 }, false) },
	{ vector("34 4c 41 55 4e 43 48 2c 73 6e 6c 75 61 24 6d 61 69 6e", "LAUNCH", "snlua", "main") },
}

describe("serialisation", function()
	for _, v in ipairs(vectors) do
		local bytes, values = v[1], v[2]
		it("packs " .. (bytes == "" and "nothing" or bytes), function()
			local packed = c.packstring(table.unpack(values, 1, values.n))
			assert.equal(bytes, hex(packed))
			assert.same(values, table.pack(c.unpack(packed)))
		end)
	end

	it("packs long strings by their length", function()
		assert.equal("152000", hex(c.packstring(("x"):rep(32)):sub(1, 3)))
		assert.equal("15ffff", hex(c.packstring(("x"):rep(65535)):sub(1, 3)))
		assert.equal("2500000100", hex(c.packstring(("x"):rep(65536)):sub(1, 5)))
		assert.equal(("x"):rep(1000000), c.unpack(c.packstring(("x"):rep(1000000))))
	end)

	it("packs a table through __pairs", function()
		local t = setmetatable({}, {
			__pairs = function()
				return function(_, k)
					if k == nil then
						return "a", 1
					elseif k == "a" then
						return "b", 2
					end
				end
			end,
		})
		assert.equal("060c610a010c620a0200", hex(c.packstring(t)))
	end)

	it("keeps what a key's __pairs takes out of the table", function()
		local t, junk, key = {}, {}, nil
		key = setmetatable({}, {
			__pairs = function()
				t[key] = nil
				collectgarbage()
				for i = 1, 1000 do
					junk[i] = { i, { i } }
				end
				return next, {}
			end,
		})
		t[key] = { "value", { "nested" } }
		local copy = c.unpack(c.packstring(t))
		assert.same({ "value", { "nested" } }, select(2, next(copy)))
		assert.equal(1000, #junk)
	end)

	it("lets a __pairs metamethod pack and raise", function()
		local inner = setmetatable({}, {
			__pairs = function()
				return next, { x = c.packstring "inner" }
			end,
		})
		assert.same({ { x = "\x2cinner" } }, { c.unpack(c.packstring(inner)) })
		local bad = setmetatable({}, {
			__pairs = function()
				error "no pairs here"
			end,
		})
		assert.error_matches(function()
			c.packstring(bad)
		end, "no pairs here")
	end)

	it("limits the depth of what it packs", function()
		local function nest(n, leaf)
			local t = leaf
			for _ = 1, n do
				t = { t }
			end
			return t
		end
		assert.has_no_error(function()
			c.packstring(nest(32, 1))
		end)
		assert.error_matches(function()
			c.packstring(nest(33, 1))
		end, "serialize can't pack too depth table")
	end)

	it("refuses what can't be packed, by type", function()
		assert.error_matches(function()
			c.packstring(print)
		end, "Unsupport type function to serialize")
	end)

	it("reports malformed bytes", function()
		for _, bytes in ipairs { "\x07", "\x1a\1", "\x25\255\255\255\255", "\x22\1", "\x0e" } do
			assert.error_matches(function()
				c.unpack(bytes)
			end, "Invalid serialize stream %d+ %(line:%d+%)")
		end
	end)

	it("takes memory in proportion to the bytes only", function()
		collectgarbage()
		local before = collectgarbage "count"
		assert.has_error(function()
			c.unpack "\xfe\x22\xff\xff\xff\x7f\x00"
		end)
		assert.is_true(collectgarbage "count" - before < 1024)
		assert.same({}, (c.unpack "\xfe\x22\xff\xff\xff\xff\x00"))
	end)

	it("survives deep nesting", function()
		assert.has_error(function()
			c.unpack(("\x0e"):rep(100000))
		end)
	end)

	it("survives random bytes", function()
		math.randomseed(42)
		for _ = 1, 20000 do
			local bytes = {}
			for i = 1, math.random(40) do
				bytes[i] = string.char(math.random(0, 255))
			end
			pcall(c.unpack, table.concat(bytes))
		end
	end)
end)
