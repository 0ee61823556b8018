-- Datasheets: the document format, what readers see, hostile documents, owners that end.

local eventually = require "eventually"
local skynet = require "skynet"
local builder = require "skynet.datasheet.builder"
local core = require "skynet.datasheet.core"
local datasheet = require "skynet.datasheet"
local dump = require "skynet.datasheet.dump"
local service = require "skynet.service"
require "skynet.manager"

local function fails(text, f, ...)
	local ok, err = pcall(f, ...)
	assert.is_false(ok)
	assert.equal(text, tostring(err):sub(-#text))
end

local function bytes(hex)
	return (hex:gsub("%X", ""):gsub("..", function(b)
		return string.char(tonumber(b, 16))
	end))
end

local vector = bytes [[
	44000000 02000000 00000000 24000000
	02000000 02000000 01050204 01000000 00000000 02000000 0000c03f 04000000 01000000
	01000000 00000000 03000000 00000001
	61 00 79 00 78 00
]]

local function plain(t)
	local copy = {}
	for k, v in pairs(t) do
		copy[k] = type(v) == "table" and plain(v) or v
	end
	return copy
end

describe("skynet.datasheet.dump", function()
	it("reads the format's example", function()
		assert.same({ 1, "a", x = { true }, y = 1.5 }, dump.undump(vector))
		assert.same({ 1, "a", x = { true }, y = 1.5 }, plain(core.new(vector)))
		assert.same({ 1, "a", x = { true }, y = 1.5 }, dump.undump(vector .. "trailing bytes"))
	end)

	it("writes the format's example", function()
		-- the order of keys is the hash's: compare with one key, and by size
		assert.equal(#vector, #dump.dump { 1, "a", x = { true }, y = 1.5 })
		assert.equal(bytes [[
			40000000 02000000 00000000 1c000000
			02000000 01000000 01050400 01000000 00000000 02000000 01000000
			02000000 00000000 03030000 00000001 00000000
			61 00 78 00
		]], dump.dump { 1, "a", x = { true, false } })
	end)

	it("keeps what the format can hold", function()
		local t = { -2147483648, 2147483647, 0.5, "", true, false, { {}, { a = {} } },
			id = 7, name = "x", [""] = 1 }
		assert.same(t, dump.undump(dump.dump(t)))
		assert.same(t, plain(core.new(dump.dump(t))))
		local big = {}
		for i = 1, 1000 do
			big[i] = i % 7 == 0 and tostring(i) or i
			big["k" .. i] = { i }
		end
		assert.same(big, dump.undump(dump.dump(big)))
	end)

	it("rounds numbers to 32 bits", function()
		local t = dump.undump(dump.dump { 2.0, 1 << 31, 0.1, -2.0 ^ 31, 1 / 0, 1e300 })
		assert.equal("integer", math.type(t[1]))
		assert.equal("float", math.type(t[2]))
		assert.equal(2.0 ^ 31, t[2])
		assert.equal((string.unpack("<f", string.pack("<f", 0.1))), t[3])
		assert.equal("integer", math.type(t[4]))
		assert.equal(1 / 0, t[5])
		assert.equal(1 / 0, t[6])
	end)

	it("refuses the rest", function()
		for _, key in ipairs { 0, -1, 3, 1.5, true, {} } do
			fails("assertion failed!", dump.dump, { 1, [key] = 1 })
		end
		assert.truthy(select(2, pcall(dump.dump, { a = { b = print } })):find("in %[%.a%]: Unsupport value"))
		assert.is_false((pcall(dump.dump, { "a\0b" })))
		assert.is_false((pcall(dump.dump, { ["a\0b"] = 1 })))
		local cycle = {}
		cycle.again = cycle
		assert.is_false((pcall(dump.dump, cycle)))
	end)

	it("diff keeps the numbers of paths that persist", function()
		local function numbers(document)
			-- root -> number by path, read off the document's own values
			local found = {}
			local function walk(prefix, number)
				local n = string.unpack("<I4", document, 5)
				local at = string.unpack("<I4", document, 9 + number * 4) + 9 + n * 4
				local array_n, dict_n, types = string.unpack("<i4i4", document, at)
				local values = types + (array_n + dict_n + 3) // 4 * 4
				local strings = string.unpack("<I4", document)
				for i = 1, array_n + dict_n do
					local key = i
					if i > array_n then
						key = string.unpack("z", document, strings + 1 + string.unpack("<I4", document, values))
						values = values + 4
					end
					if document:byte(types + i - 1) == 4 then
						local v = string.unpack("<I4", document, values)
						found[prefix .. key] = v
						walk(prefix .. key .. ".", v)
					end
					values = values + 4
				end
			end
			walk("", 0)
			return found
		end
		local one = dump.dump { a = { b = {}, c = {} }, d = {}, { 1 } }
		local two = dump.diff(one, dump.dump { a = { b = { 1 }, e = {} }, { 2 }, d = 5 })
		assert.same({ a = { b = { 1 }, e = {} }, { 2 }, d = 5 }, dump.undump(two))
		local before, after = numbers(one), numbers(two)
		assert.equal(before.a, after.a)
		assert.equal(before["a.b"], after["a.b"])
		assert.equal(before["1"], after["1"])
		assert.equal(6, (string.unpack("<I4", one, 5)))
		assert.equal(6, after["a.e"])
		local three = dump.diff(two, { a = { c = {} } })
		assert.equal(7, numbers(three)["a.c"])
		assert.same({ a = { c = {} } }, dump.undump(three))
	end)
end)

describe("skynet.datasheet.core", function()
	it("fills a level at first use, and is a plain table then", function()
		local t = core.new(dump.dump { 1, 2, e = { k = "v" } })
		assert.is_nil(next(t))
		assert.equal(2, #t)
		assert.is_nil(getmetatable(t))
		local e = t.e
		assert.is_nil(next(e))
		assert.equal("v", e.k)
		assert.equal("k", (next(e)))
		t.new = "written"
		assert.equal("written", t.new)
		for k, v in pairs(core.new(dump.dump { x = 1 })) do
			assert.same({ "x", 1 }, { k, v })
		end
	end)

	it("updates all tables in place", function()
		local one = dump.dump { 1, e = { k = { z = 1 } }, gone = { 1 } }
		local t = core.new(one)
		local e, k, gone = t.e, t.e.k, t.gone
		assert.equal(1, k.z)
		t.written = true
		local two = dump.diff(one, dump.dump { 5, 6, e = { k = { z = 2 } } })
		core.update(t, two)
		assert.same({ 5, 6, e = { k = { z = 2 } } }, plain(t))
		assert.equal(e, t.e)
		assert.equal(k, t.e.k)
		assert.truthy(select(2, pcall(function() return gone[1] end)):find "Invalid proxy %(index = %d+%)")
		assert.is_false((pcall(core.update, e, two)))
		core.update(t, dump.diff(two, one))
		assert.equal(1, k.z)
	end)

	it("keeps documents by number", function()
		local id = core.document(dump.dump { v = 1 })
		local t = core.new(id)
		core.delete(id)
		assert.is_false((pcall(core.delete, id)))
		assert.is_false((pcall(core.new, id)))
		assert.equal(1, t.v)
		local pointer = core.stringpointer(vector)
		assert.equal(pointer, core.stringpointer(vector))
		assert.equal(1.5, core.new(pointer).y)
	end)

	it("outlives the VM that made the document", function()
		local s = skynet.newservice "remote"
		local id = skynet.call(s, "lua", [[
			local core = require "skynet.datasheet.core"
			return core.stringpointer(...)
		]], vector)
		local t = core.new(id)
		skynet.kill(s)
		eventually(function()
			return not pcall(core.new, id)
		end)
		assert.equal("a", t[2])
	end)

	it("refuses garbage", function()
		local base = dump.dump { 1, "text", e = { k = { 1, 2, true, "s" } }, f = 0.5 }
		math.randomseed(42)
		local function read(t, depth)
			local n = 0
			for _, v in pairs(t) do
				n = n + (type(v) == "table" and depth < 5 and read(v, depth + 1) or 1)
			end
			return n
		end
		local accepted = 0
		for _ = 1, 5000 do
			local text = base
			for _ = 1, math.random(1, 4) do
				local at = math.random(1, #text)
				local what = math.random(4)
				if what == 1 then
					text = text:sub(1, at)
				else
					text = text:sub(1, at - 1) .. string.char(what == 2 and 255 or math.random(0, 255)) ..
						text:sub(at + 1)
				end
			end
			local ok, t = pcall(core.new, text)
			if ok then
				accepted = accepted + 1
				pcall(read, t, 0)
			end
			pcall(dump.undump, text)
			pcall(dump.diff, base, text)
		end
		assert.truthy(accepted > 0)
		for _, text in ipairs { "", "x", ("\0"):rep(8), ("\xff"):rep(100), ("\0"):rep(100) } do
			assert.is_false((pcall(core.new, text)))
			assert.is_false((pcall(core.stringpointer, text)))
			assert.is_false((pcall(dump.undump, text)))
		end
	end)

	it("isn't kept busy by a document that repeats itself", function()
		local n = 20000
		local index = 8 + n * 4
		local level = string.pack("<i4i4", n, 0) .. ("\1"):rep(n) .. ("\0"):rep(n * 4)
		local text = string.pack("<I4I4", index + #level, n) .. ("\0"):rep(n * 4) .. level .. "\0"
		local begin = os.clock()
		assert.is_false((pcall(core.new, text)))
		assert.is_false((pcall(dump.undump, text)))
		assert.truthy(os.clock() - begin < 20)
	end)

	it("raises for arguments of other types", function()
		for _, name in ipairs { "new", "update", "stringpointer", "document", "delete", "alive" } do
			for _, bad in ipairs { 1.5, true, {}, print, io.stdout } do
				assert.is_false((pcall(core[name], bad, bad)), name)
			end
			assert.is_false((pcall(core[name])), name)
		end
		local ptr, sz = skynet.pack(1)
		assert.is_false((pcall(core.new, ptr)))
		skynet.trash(ptr, sz)
		local meta = getmetatable(core.new(vector))
		assert.is_false((pcall(meta.__index, 5, 1)))
		assert.is_nil(meta.__index({}, 1))
		assert.is_nil(setmetatable({}, meta).x)
	end)
end)

describe("skynet.datasheet", function()
	it("publishes once, and updates", function()
		builder.new("one", { a = 1, list = { { id = 1 }, { id = 2 } } })
		assert.is_false((pcall(builder.new, "one", {})))
		fails("assertion failed!", builder.new, "one", {})
		fails("assertion failed!", builder.update, "none", {})
		local t = datasheet.query "one"
		local second = t.list[2]
		assert.equal(2, second.id)
		assert.equal(t, datasheet.query "one")
		builder.update("one", { a = 2, list = { { id = 10 }, { id = 20 } } })
		eventually(function() return t.a == 2 end)
		assert.equal(20, second.id)
		assert.equal(second, t.list[2])
		builder.new("compiled", builder.compile { x = "y" })
		assert.equal("y", datasheet.query("compiled").x)
	end)

	it("fails for an unknown name, but not for good", function()
		fails("call failed", datasheet.query, "later")
		builder.new("later", { v = 1 })
		assert.equal(1, datasheet.query("later").v)
		fails("assertion failed!", builder.new, "bad", { [0] = 1 })
		assert.is_false((pcall(builder.new, "bad", "no document")))
		assert.is_false((pcall(builder.new, "bad", 5)))
		builder.new("bad", { fine = true })
	end)

	it("answers all who ask at once with one table", function()
		builder.new("many", { v = 1 })
		local got = {}
		for i = 1, 10 do
			skynet.fork(function()
				got[i] = datasheet.query "many"
			end)
		end
		eventually(function() return #got == 10 end)
		for i = 2, 10 do
			assert.equal(got[1], got[i])
		end
	end)

	it("reaches other services, which may die", function()
		builder.new("other", { v = 0 })
		local s = skynet.newservice "remote"
		skynet.call(s, "lua", [[ t = require "skynet.datasheet".query "other" ]])
		for i = 1, 20 do
			local dying = skynet.newservice "remote"
			skynet.send(dying, "lua", [[ t = require "skynet.datasheet".query "other" ]])
			builder.update("other", { v = i })
			skynet.kill(dying)
		end
		eventually(function()
			return skynet.call(s, "lua", "return t.v") == 20
		end)
		skynet.kill(s)
		local info = skynet.call(service.query "datasheet", "debug", "INFO")
		assert.equal("userdata", type(info.other.handle))
	end)

	it("goes on with another builder when one has died", function()
		local s = skynet.newservice "remote"
		skynet.call(s, "lua", [[
			require "skynet.datasheet.builder".new("heir", { x = { 1 }, y = { 2 }, z = { 3 } })
		]])
		local t = datasheet.query "heir"
		local z = t.z
		assert.equal(3, z[1])
		skynet.kill(s)
		builder.new("heir", { z = { 30 }, x = { 10 } })
		eventually(function() return z[1] == 30 end)
		assert.equal(z, t.z)
	end)

	it("leaves its tables good when the service ends", function()
		builder.new("orphan", { a = { b = { c = 1 } }, text = ("x"):rep(100000) })
		local t = datasheet.query "orphan"
		local a = t.a
		service.close "datasheet"
		skynet.sleep(10)
		collectgarbage()
		assert.equal(1, a.b.c)
		assert.equal(100000, #t.text)
	end)
end)
