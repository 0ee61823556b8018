-- bson: bytes of every type, special strings, limits, hostile documents, changes in place.

local bson = require "bson"
local skynet = require "skynet"

local function hex(s)
	return (tostring(s):gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

local function bytes(h)
	return (h:gsub("%x%x", function(x) return string.char(tonumber(x, 16)) end))
end

local function raises(text, f, ...)
	local ok, err = pcall(f, ...)
	if ok then
		error("no error was raised", 2)
	end
	assert.truthy(tostring(err):find(text, 1, true), ("%q isn't in %q"):format(text, tostring(err)))
end

local vectors = {
	{ 1, "0c0000001061000100000000" },
	{ -1, "0c000000106100ffffffff00" },
	{ 2147483647, "0c000000106100ffffff7f00" },
	{ -2147483648, "0c0000001061000000008000" },
	{ 2147483648, "10000000126100000000800000000000" },
	{ -2147483649, "10000000126100ffffff7fffffffff00" },
	{ 1.5, "10000000016100000000000000f83f00" },
	{ 3.0, "10000000016100000000000000084000" },
	{ "hi", "0f0000000261000300000068690000" },
	{ "", "0d000000026100010000000000" },
	{ "a\0b", "10000000026100040000006100620000" },
	{ "\0", "0e00000002610002000000000000" },
	{ true, "090000000861000100" },
	{ false, "090000000861000000" },
	{ bson.null, "080000000a610000" },
	{ bson.minkey, "08000000ff610000" },
	{ bson.maxkey, "080000007f610000" },
	{ { 1, "x", true }, "210000000461001900000010300001000000023100020000007800083200010000" },
	{ {}, "0d000000036100050000000000" },
	{ { b = { c = 1 } }, "1c000000036100140000000362000c00000010630001000000000000" },
	{ bson.binary "\1\2\3", "10000000056100030000000001020300" },
	{ bson.binary "", "0d000000056100000000000000" },
	{ "\0\5\x80abc", "10000000056100030000008061626300" },
	{ bson.date(1700000000), "100000000961000068e5cf8b01000000" },
	{ bson.date(4000000000), "1000000009610000409452a303000000" },
	{ bson.date(-1), "1000000009610018fcffffe703000000" },
	{ bson.timestamp(1700000000, 7), "100000001161000700000000f1536500" },
	{ bson.objectid "0123456789abcdefABCDEF01", "140000000761000123456789abcdefabcdef0100" },
	{ bson.regex("^a.*", "im"), "100000000b61005e612e2a00696d0000" },
	{ bson.regex "x", "0b0000000b610078000000" },
	{ "\0\13\4\0\0\0abc\0", "100000000d6100040000006162630000" },
	{ "\0\14\4\0\0\0abc\0", "100000000e6100040000006162630000" },
	{ bson.int64(5), "10000000126100050000000000000000", 5 },
	{ bson.encode { b = 1 }, "140000000361000c000000106200010000000000", { b = 1 } },
	{ setmetatable({}, { __len = function() return 2 end, __index = function(_, i) return "v" .. i end }),
		"210000000461001900000002300003000000763100023100030000007632000000", { "v1", "v2" } },
}

-- Each test handles a message of its own, so that none looks like an endless loop on a slow machine.
before_each(function()
	skynet.sleep(0)
end)

describe("bson.encode", function()
	it("writes the bytes of the vectors, and decode reads them", function()
		for _, v in ipairs(vectors) do
			local doc = bson.encode { a = v[1] }
			assert.equal(v[2], hex(doc))
			assert.equal(#v[2] // 2, #doc)
			local want = v[3]
			if want == nil then
				want = v[1]
			end
			assert.same({ a = want }, doc:decode())
			assert.equal(math.type(want), math.type(doc:decode().a))
			assert.same({ a = want }, bson.decode(bson.to_lightuserdata(doc)))
		end
		assert.equal("0500000000", hex(bson.encode {}))
	end)

	it("keeps an order that's given", function()
		assert.equal("24000000107a00010000000461000c0000001030000100000000026d0002000000730000",
			hex(bson.encode_order("z", 1, "a", { 1 }, "m", "s")))
		assert.equal("0500000000", hex(bson.encode_order()))
		assert.equal(hex(bson.encode_order("1", 1)), hex(bson.encode_order(1, 1)))
		raises("Invalid ordered dict", bson.encode_order, "a")
		raises("Argument 3 need a string", bson.encode_order, "a", 1, {}, 1)
		raises("Bson array has a hole (nil), Use bson.null instead", bson.encode_order, "a", nil)
		local keys = {}
		for i = 1, 200 do
			keys[i] = i % 2 == 1 and "k" .. i or i
		end
		assert.equal(100, select(2, tostring(bson.encode_order(table.unpack(keys))):gsub("k%d+", "")))
	end)

	it("names what can't be encoded", function()
		raises("table expected, got number", bson.encode, 1)
		raises("table expected, got no value", bson.encode)
		raises("Invalid utf8 string", bson.encode, { a = "\xff" })
		raises("Invalid utf8 string", bson.encode, { ["\xc0\x80"] = 1 })
		raises("Invalid utf8 string", bson.encode, { a = "\xf4\x90\x80\x80" })
		raises("Invalid utf8 string", bson.encode, { a = "12345678\xe2\x82" })
		raises("Invalid value type : function", bson.encode, { a = print })
		raises("Invalid value type : userdata", bson.encode, { a = io.stdout })
		raises("Invalid key type : table", bson.encode, { [{}] = 1 })
		raises("Bson dictionary's key can't be number", bson.encode, { 1 })
		raises("it contains a zero byte", bson.encode, { ["a\0b"] = 1 })
		raises("Bson array has a hole (nil), Use bson.null instead", bson.encode, { a = { 1, nil, 3 } })
		raises("__len should return integer", bson.encode,
			{ a = setmetatable({}, { __len = function() return "2" end }) })
		for s, message in pairs {
			["\0\99x"] = "Invalid subtype 99", ["\0\5"] = "Invalid binary", ["\0\7abc"] = "Invalid object id",
			["\0\9abc"] = "Invalid date", ["\0\x11abc"] = "Invalid timestamp", ["\0\x12abc"] = "Invalid int64",
			["\0\11abc"] = "Invalid regex", ["\0\13\100\0\0\0x\0"] = "Invalid special string",
		} do
			raises(message, bson.encode, { a = s })
			raises(message, bson.type, s)
		end
		assert.same({ a = "\xed\xa0\x80 €𝄞" }, bson.encode({ a = "\xed\xa0\x80 €𝄞" }):decode())
	end)

	it("uses metatables", function()
		local ordered = setmetatable({}, { __pairs = function()
			local keys = { "z", "y", "x" }
			local i = 0
			return function()
				i = i + 1
				return keys[i], i
			end
		end })
		assert.equal(hex(bson.encode_order("z", 1, "y", 2, "x", 3)), hex(bson.encode(ordered)))
		assert.same({ a = { z = 1, y = 2, x = 3 } }, bson.encode({ a = ordered }):decode())
		local both = setmetatable({}, { __len = function() return 1 end, __index = function() return "i" end,
			__pairs = function() return next, { k = "p" } end })
		assert.same({ k = "p" }, bson.encode(both):decode())
		assert.same({ a = { "i" } }, bson.encode({ a = both }):decode())
		local empty = setmetatable({}, { __len = function() return 0 end })
		assert.equal("0d000000046100050000000000", hex(bson.encode { a = empty }))
		raises("from a metamethod", bson.encode,
			{ a = setmetatable({}, { __pairs = function() error "from a metamethod" end }) })
	end)

	it("nests 128 levels below the top and no more", function()
		local function nested(n)
			local t = { leaf = true }
			for _ = 1, n do
				t = { d = t }
			end
			return t
		end
		assert.same(nested(128), bson.encode(nested(128)):decode())
		raises("Too depth while encoding bson", bson.encode, nested(129))
		local cycle = {}
		cycle.c = cycle
		raises("Too depth while encoding bson", bson.encode, cycle)
		local doc = bson.encode {}
		for _ = 1, 400 do
			doc = bson.encode { d = doc }
		end
		raises("Too depth while decoding bson", bson.decode, doc)
	end)

	it("grows to a limit", function()
		local s = ("x"):rep(100000)
		local doc = bson.encode { a = s, b = { s, s } }
		assert.same({ a = s, b = { s, s } }, doc:decode())
		raises("bson document is too large", bson.encode, { a = setmetatable({}, {
			__len = function() return math.maxinteger end, __index = function() return s end,
		}) })
	end)
end)

describe("bson.decode", function()
	local kit = require "testkit"

	it("gives nothing for what isn't a document", function()
		assert.equal(0, select("#", bson.decode "0500000000"))
		assert.equal(0, select("#", bson.decode(nil)))
	end)

	it("checks the size", function()
		local doc = bson.encode { a = 1 }
		raises("Invalid bson block (11:12)", bson.decode, bson.to_lightuserdata(doc), 11)
		raises("Invalid bson block (3:4)", bson.decode, bson.to_lightuserdata(doc), 3)
	end)

	it("survives each change of a byte", function()
		local doc = bson.encode {
			s = "text", i = 5, l = 1 << 40, d = 1.5, t = true, a = { 1, { x = "y" } }, o = bson.objectid(),
			b = bson.binary "12345", r = bson.regex("a", "i"), c = "\0\13\4\0\0\0abc\0", w = bson.date(5),
			n = bson.null, m = bson.timestamp(1, 2),
		}
		local raw = tostring(doc)
		for i = 1, #raw do
			local c = raw:byte(i)
			for _, other in ipairs { 0, c ~ 1, c ~ 0x80, 255, (c + 1) & 255 } do
				local changed = raw:sub(1, i - 1) .. string.char(other) .. raw:sub(i + 1)
				pcall(bson.decode, kit.pointer(changed), #changed)
			end
			assert.is_false((pcall(bson.decode, kit.pointer(raw), i - 1)))
		end
	end)

	it("names what's wrong", function()
		for h, message in pairs {
			["04000000"] = "Invalid bson block (4:4)",
			["0500000001"] = "Invalid document end",
			["0800000002610000"] = "Invalid bson string , length = 0",
			["0e00000002610002000000787800"] = "Invalid bson string , length = 2",
			["0f000000026100ffffff7f78000000"] = "Invalid bson string",
			["0800000013610000"] = "Invalid bson type : 19",
			["0800000006610000"] = "Invalid bson type : 6",
			["07000000106100"] = "Invalid bson block",
			["0a0000000b6161616100"] = "Invalid bson block : cstring",
			["0d000000036100050000000100"] = "Invalid document end",
			["0d000000036100ffffffff0000"] = "Invalid document end",
			["0d000000056100ffffffff0000"] = "Invalid bson block",
			["0600000001" .. "00"] = "Invalid bson block",
		} do
			local raw = bytes(h)
			raises(message, bson.decode, kit.pointer(raw), #raw)
		end
	end)

	it("doesn't believe the names of array elements", function()
		local array = bytes "0e000000" .. "\x10zz\0" .. bytes "0700000000"
		array = string.pack("<i4", #array) .. array:sub(5)
		local raw = "\4a\0" .. array .. "\0"
		raw = string.pack("<i4", #raw + 4) .. raw
		assert.same({ a = { 7 } }, bson.decode(kit.pointer(raw), #raw))
	end)

	it("reads milliseconds and dates of any time", function()
		local function date(ms)
			local raw = string.pack("<i4", 16) .. "\9a\0" .. string.pack("<i8", ms) .. "\0"
			local v = bson.decode(kit.pointer(raw), #raw).a
			return v, select(2, bson.type(v))
		end
		assert.equal(bson.date(1700000000), (date(1700000000999)))
		local v, seconds = date(-1500)
		assert.equal(-1.5, seconds)
		assert.equal(hex(bson.encode { a = v }), hex(bson.encode { a = bson.date(-1.5) }))
		assert.equal(4102444800, select(2, bson.type(bson.date(4102444800))))
		assert.equal(1.25, select(2, bson.type(bson.date(1.25))))
	end)
end)

describe("bson values", function()
	it("have the form that users rely on", function()
		assert.equal("000a 00ff 007f", ("%s %s %s"):format(hex(bson.null), hex(bson.minkey), hex(bson.maxkey)))
		assert.equal("0009" .. "01000000", hex(bson.date(1)))
		assert.equal("0011" .. "02000000" .. "01000000", hex(bson.timestamp(1, 2)))
		assert.equal("0011" .. "00000000" .. "01000000", hex(bson.timestamp(1)))
		assert.equal("000b" .. "6100" .. "6900", hex(bson.regex("a", "i")))
		assert.equal("0005" .. "00" .. "61", hex(bson.binary "a"))
		assert.equal("0012" .. "0500000000000000", hex(bson.int64(5)))
		raises("string expected, got no value", bson.regex)
		raises("Invalid objectid abc", bson.objectid, "abc")
		raises("Invalid objectid", bson.objectid, ("g"):rep(24))
	end)

	it("make ids that differ, with the time in front", function()
		local seen = {}
		for _ = 1, 1000 do
			local id = bson.objectid()
			assert.equal(14, #id)
			assert.is_nil(seen[id])
			seen[id] = true
		end
		local _, text = bson.type(bson.objectid())
		assert.is_true(math.abs(tonumber(text:sub(1, 8), 16) - os.time()) < 5)
		assert.equal(select(2, bson.type(bson.objectid(text))), text)
	end)

	it("tell their type", function()
		local function is(value, ...)
			assert.same(table.pack(...), table.pack(bson.type(value)))
		end
		is(1, "number", 1)
		is(true, "boolean", true)
		is("x", "string", "x")
		is("\0", "string", "\0")
		is(nil, "nil")
		is(bson.null, "nil")
		is(bson.objectid "0123456789abcdefABCDEF01", "objectid", "0123456789abcdefabcdef01")
		is(bson.date(7), "date", 7)
		is(bson.timestamp(7, 8), "timestamp", 7, 8)
		is(bson.binary "abc", "binary", "abc", 0)
		is("\0\5\4abc", "binary", "abc", 4)
		is(bson.regex("a", "i"), "regex", "a", "i")
		is(bson.int64(-5), "int64", -5)
		is(bson.minkey, "minkey")
		is(bson.maxkey, "maxkey")
		is("\0\13\4\0\0\0abc\0", "unsupported", "\4\0\0\0abc\0")
		local t = {}
		is(t, "table", t)
		raises("Invalid type userdata", bson.type, bson.encode {})
		raises("Invalid subtype 99", bson.type, "\0\99")
	end)
end)

describe("bson documents", function()
	it("change in place", function()
		local doc = bson.encode { i = 1, l = 1 << 40, r = 1.5, b = false, d = bson.date(1), s = "x",
			o = bson.objectid "000000000000000000000000", t = bson.timestamp(1, 1) }
		raises("call makeindex first", function() doc.i = 2 end)
		assert.equal(doc, doc:makeindex())
		doc.i, doc.l, doc.r, doc.b = 2, 3, 4, "truthy"
		doc.d, doc.o, doc.t = bson.date(2), bson.objectid(("1"):rep(24)), bson.timestamp(5, 6)
		assert.same({ i = 2, l = 3, r = 4.0, b = true, d = bson.date(2), s = "x",
			o = bson.objectid(("1"):rep(24)), t = bson.timestamp(5, 6) }, doc:decode())
		doc.i = (1 << 32) + 9
		assert.equal(9, doc:decode().i)
		assert.is_nil(doc.i)
		raises("Can't replace key : s", function() doc.s = "y" end)
		raises("Can't replace key : none", function() doc.none = 1 end)
		raises("Type mismatch, need bson type 7", function() doc.o = "abc" end)
		raises("Type mismatch, need bson type 9", function() doc.d = 1 end)
		raises("1.5 must be a 32bit integer ", function() doc.i = 1.5 end)
		raises("must be a 64bit integer ", function() doc.l = {} end)
		raises("number expected", function() doc.r = "x" end)
	end)
end)
