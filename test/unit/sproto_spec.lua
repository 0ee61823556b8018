-- sproto: schema language, bundles, wire format, 0-pack, remote calls, shared slots.

local skynet = require "skynet"
local core = require "sproto.core"
local sproto = require "sproto"
local parser = require "sprotoparser"
local loader = require "sprotoloader"
local vectors = require "sproto_vectors"

local function hex(s)
	return (s:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

local function bytes(h)
	return (h:gsub("%x%x", function(x) return string.char(tonumber(x, 16)) end))
end

-- The error of a call; fails when there's none.
local function failure(f, ...)
	local ok, err = pcall(f, ...)
	if ok then error("no error was raised", 3) end
	return tostring(err)
end

local function raises(text, f, ...)
	local err = failure(f, ...)
	assert.truthy(err:find(text, 1, true), ("%q isn't in %q"):format(text, err))
end

-- Each test handles a message of its own, so that none looks like an endless loop on a slow machine.
before_each(function()
	skynet.sleep(0)
end)

describe("sprotoparser", function()
	local function parse(text)
		return hex(parser.parse(text))
	end

	it("writes the canonical bundle", function()
		for _, v in ipairs(vectors.bundles) do
			assert.equal(v[2], parse(v[1]))
		end
		assert.equal(vectors.s1_bundle, parse(vectors.s1))
		assert.equal(vectors.p1_bundle, parse(vectors.p1))
		assert.equal("0000", parse "")
		assert.equal("0000", parse " # nothing")
	end)

	it("takes blanks, comments and any order", function()
		local plain = parse ".A { x 0 : integer y 2 : *string } foo 1 { request A response nil }"
		assert.equal(plain, parse(
			"foo 1{request A response nil}.A{y 2:*string # of text\r\n\tx\n0\n:integer}#end"))
		assert.equal(plain, parse "foo 1 { response nil request A }.A { y 2 : *string x 0 : integer }")
		assert.equal(parse ".A {} foo 1 { request nil response A }", parse ".A {} foo 1 { response A }")
		assert.equal(parse ".A { x 0 : integer }", parse ".A { x 0 : integer() }")
		assert.equal(parse ".T { i 0 : integer } .A { x 0 : T }",
			parse ".T { i 0 : integer } .A { x 0 : T(i) }")
	end)

	it("resolves type names from the innermost scope outwards", function()
		local sp = sproto.parse [[
			.t { a 0 : integer }
			.A { .t { b 0 : integer } .B { .C { x 0 : t y 1 : C } .t { c 0 : integer } z 0 : C } x 0 : t y 1 : B.t }
			.D { x 0 : t }
			p 1 { request { .u { k 0 : integer } v 0 : u } }
		]]
		assert.equal("A.B.t", sp:default("A.B.C").x.__type)
		assert.equal("A.B.C", sp:default("A.B.C").y.__type)
		assert.equal("A.t", sp:default("A").x.__type)
		assert.equal("A.B.t", sp:default("A").y.__type)
		assert.equal("t", sp:default("D").x.__type)
		assert.equal("p.request.u", sp:default("p", "REQUEST").v.__type)
	end)

	it("says where the syntax is wrong", function()
		raises("syntax error at [=text] line (3)", parser.parse, ".A {\n x 0 : integer\n y z\n}")
		raises('near "z", column 4: syntax', parser.parse, ".A {\n x 0 : integer\n y z\n}")
		raises("syntax error at [game.sproto] line (1)", parser.parse, ".A { x 0, }", "game.sproto")
		for _, text in ipairs {
			".A", ".A {", ". A {}", ".A {} ;", ".A { x0 : integer }", ".A { x -1 : integer }", "\r",
			".A { x 0 : integer (2) }", ".A { x 0 : * integer }", ".A { x 0 : a. b }", ".A { x 0 integer }",
			"foo 1 { request{} }", "foo { }", "foo 1 { answer A }", ".A { x 0 : integer(2 }", "..A {}", "1",
			".A { x 0 : *integer(a b) }", "foo 1 { requestA }",
		} do
			raises("syntax error at [=text] line (1)", parser.parse, text)
		end
	end)

	it("refuses what has no meaning, by name", function()
		for text, message in pairs {
			[".A {} .A {}"] = "redefined A",
			[".A { .B {} .B {} }"] = "redefined A.B",
			[".A {} p 1 {} p 2 {}"] = "redefined p",
			[".A { x 0 : integer x 1 : integer }"] = "redefine x in type A",
			[".A { x 7 : integer y 7 : integer }"] = "redefine tag 7 in type A",
			[".A {} p 1 { request A request A }"] = "redefine request in protocol p",
			[".A {} p 1 { response nil response A }"] = "redefine response in protocol p",
			[".A {} p 1 {} q 1 {}"] = "redefined protocol tag 1 at q",
			[".A { x 0 : B }"] = "Undefined type B in type A",
			[".A {} p 1 { request B }"] = "Undefined request type B in protocol p",
			[".A {} p 1 { response integer }"] = "Undefined response type integer in protocol p",
			[".A { m 0 : *B() } .B { x 0 : integer }"] =
				"Invalid map definition: m, must only have two fields",
			[".A { m 0 : *B(z) } .B { x 0 : integer }"] = "Invalid map index :z",
			[".A { m 0 : *B(x) } .B { x 0 : A }"] = "Invalid map index :x",
			[".A { m 0 : *B() } .B { x 0 : A y 1 : integer }"] = "Invalid map index :x",
			["p 1 {}"] = "assertion failed!",
			[".A { x 0 : string(2) }"] = "assertion failed!",
			[".A { x 0 : *string(2) }"] = "only integers have decimals",
			[".A { x 0 : *integer(id) }"] = "its elements aren't structs",
			[".A { x 32767 : integer }"] = "tag 32767 of x in type A is out of range",
			[".A {} p 99999999999999999999 {}"] = "of protocol p is out of range",
			[".A { x 0 : integer(19) }"] = "has 19 decimals",
		} do
			raises(message, parser.parse, text)
		end
	end)

	it("takes the largest tag", function()
		local sp = sproto.parse ".A { x 32766 : integer } p 32766 { request A }"
		assert.equal("0200fbff0400", hex(sp:encode("A", { x = 1 })))
		assert.same({ x = 1 }, sp:decode("A", sp:encode("A", { x = 1 })))
		assert.equal(32766, sp:queryproto("p").tag)
	end)

	it("stops at a type nested too deep", function()
		raises("is nested too deep", parser.parse, (".A {"):rep(200) .. ("}"):rep(200))
	end)
end)

describe("sproto messages", function()
	local s1 = sproto.new(bytes(vectors.s1_bundle))

	it("are the bytes of the vectors, packed and not", function()
		for _, v in ipairs(vectors.messages) do
			local encoded = s1:encode(v[1], v[2])
			assert.equal(v[3], hex(encoded))
			assert.equal(v[4], hex(sproto.pack(encoded)))
			assert.equal(v[4], hex(s1:pencode(v[1], v[2])))
			local decoded, used = s1:decode(v[1], bytes(v[3]))
			assert.same(v[5] or v[2], decoded)
			assert.equal(#encoded, used)
			assert.same(v[5] or v[2], (s1:pdecode(v[1], bytes(v[4]))))
		end
	end)

	it("decode decimals and doubles to floats, integers to integers", function()
		local t = s1:decode("All", s1:encode("All", {
			d = 2, z = 7, f = 3, i = 3.0, ad = { 1 }, af = { 2 }, ai = { 4.0 },
		}))
		assert.equal("2.0 7.0 3.0 3 1.0 2.0 4", ("%s %s %s %s %s %s %s"):format(t.d, t.z, t.f, t.i,
			t.ad[1], t.af[1], t.ai[1]))
	end)

	it("pass over tags that a schema doesn't know", function()
		local old = sproto.parse ".T { x 0 : integer e 9 : boolean }"
		local message = "07001000000000000000000007000400080000000000000000010000020000007a7a" ..
			"090000000401000000020000000400000001000400"
		assert.same({ x = 7, e = true }, (old:decode("T", bytes(message))))
	end)

	it("name the field with a wrong value", function()
		local function wrong(text, value)
			raises(text, s1.encode, s1, "All", value)
		end
		wrong("All.i[0] is not an integer (Is a string)", { i = "x" })
		wrong("All.i[0] is not an integer (Is a number)", { i = 1.5 })
		wrong("All.ai[2] is not an integer (Is a table)", { ai = { 1, {} } })
		wrong("All.b[0] is not a boolean (Is a number)", { b = 1 })
		wrong("All.ab[1] is not a boolean (Is a string)", { ab = { "true" } })
		wrong("All.s[0] is not a string (Is a number)", { s = 1 })
		wrong("All.as[3] is not a string (Is a boolean)", { as = { "", "", false } })
		wrong("Pet.tag[0] is not a string (Is a table)", { st = { tag = {} } })
		wrong("attempt to index a number value", { st = 1 })
		wrong("All.ai(1) should be a table or an userdata with metamethods (Is a number)", { ai = 1 })
		wrong("Pair.v[0] is not an integer (Is a string)", { mp = { k = "v" } })
		wrong("Pair.k[0] is not a string (Is a number)", { mp = { 1 } })
		wrong("All.d[0] is not in the range of its decimals (Is a number)", { d = 1e300 })
		wrong("All.d[0] is not in the range", { d = 0 / 0 })
		raises("Pet: wrong: type not found", s1.encode, s1, "Pet: wrong", {})
		raises("attempt to index a nil value", s1.encode, s1, "Pet")
	end)

	it("read through metatables", function()
		local lazy = setmetatable({}, { __index = function(_, k) return k == "tag" and "lazy" or nil end })
		assert.equal("0100000000000000", hex(s1:encode("Pet", { tag = "" })))
		assert.same({ tag = "lazy" }, (s1:decode("Pet", s1:encode("Pet", lazy))))
		local three = setmetatable({}, { __index = function(_, i) return i <= 3 and i * 10 or nil end })
		assert.same({ ai = { 10, 20, 30 } }, (s1:decode("All", s1:encode("All", { ai = three }))))
		local ordered = setmetatable({}, { __pairs = function()
			local i = 0
			return function()
				i = i + 1
				if i <= 3 then
					return "k" .. i, i
				end
			end
		end })
		assert.same({ mp = { k1 = 1, k2 = 2, k3 = 3 } }, (s1:decode("All", s1:encode("All", { mp = ordered }))))
		raises("from a metamethod", s1.encode, s1, "Pet",
			setmetatable({}, { __index = function() error "from a metamethod" end }))
	end)

	it("may be encoded while another is", function()
		local inner
		local big = ("x"):rep(10000)
		local outer = setmetatable({}, { __index = function(_, k)
			if k == "tag" then
				inner = s1:encode("Pet", { tag = big, legs = 5 })
				return big .. "!"
			elseif k == "legs" then
				return 6
			end
		end })
		local encoded = s1:encode("Pet", outer)
		assert.same({ tag = big .. "!", legs = 6 }, (s1:decode("Pet", encoded)))
		assert.same({ tag = big, legs = 5 }, (s1:decode("Pet", inner)))
	end)

	it("end at the first hole of an array, and ignore unknown keys", function()
		assert.same({ ai = { 1 } }, (s1:decode("All", s1:encode("All", { ai = { 1, nil, 3 }, other = 1 }))))
	end)

	it("fill a table that's given", function()
		local t = { keep = 1, legs = 2 }
		local got, used = s1:decode("Pet", bytes "020001000800", t)
		assert.equal(t, got)
		assert.same({ keep = 1, legs = 3 }, t)
		assert.equal(6, used)
	end)

	it("are refused when they're malformed", function()
		for _, m in ipairs {
			"", "01", "0100", "01000000", "01000400", "020001000000010000000100", "0100000004000000616263",
			"0100000000", "020003000000", "0200050000000100000000", "0200050000000600000003000000ffff",
		} do
			raises("decode error", s1.decode, s1, "Pet", bytes(m))
		end
		assert.same({ {}, 2 }, { s1:decode("Pet", bytes "000068656c6c6f") })
		assert.same({ { tag = "abc" }, 11 }, { s1:decode("Pet", bytes "0100000003000000616263") })
		-- a boolean in the data, a width of 5, a number cut off, a struct with bytes left over
		raises("decode error", s1.decode, s1, "All", bytes "02000100000001000000 01")
		for _, m in ipairs { "020003000000000001000000", "02000b0000000500000005" .. "01020304",
			"02000b00000004000000" .. "04010203", "02001700000004000000" .. "00000000" } do
			raises("decode error", s1.decode, s1, "All", bytes(m))
		end
		assert.same({ ai = {} }, (s1:decode("All", bytes "02000b000000" .. bytes "0100000004")))
	end)

	it("need the key of each entry", function()
		local function pet(h)
			return s1:decode("All", bytes("02001b000000" .. hex(string.pack("<s4", bytes(h)))))
		end
		raises("Can't find main index (tag=0) in [km]", pet, "0600000002000100" .. "0400")
		local function pairs_of(...)
			local items = {}
			for i, h in ipairs { ... } do
				items[i] = string.pack("<s4", bytes(h))
			end
			return s1:decode("All", bytes "02001d000000" .. string.pack("<s4", table.concat(items)))
		end
		local one, no_key, no_value = "02000000040001000000" .. "61", "020001000400", "01000000" .. "0100000062"
		assert.same({ mp = { a = 1 } }, (pairs_of(one)))
		raises("Can't find key field in [mp]", pairs_of, no_key)
		raises("Can't find value field in [mp]", pairs_of, no_value)
		raises("Can't find key field in [mp]", pairs_of, one, no_key)
		raises("Can't find value field in [mp]", pairs_of, one, no_value)
	end)

	it("nest 64 levels and no more", function()
		local function nested(n)
			local t = { tag = "leaf" }
			for _ = 2, n do
				t = { young = { t } }
			end
			return t
		end
		assert.same(nested(64), (s1:decode("Pet", s1:encode("Pet", nested(64)))))
		raises("The table is too deep", s1.encode, s1, "Pet", nested(65))
		local cycle = {}
		cycle.young = { cycle }
		raises("The table is too deep", s1.encode, s1, "Pet", cycle)
		local deep = "0000"
		for _ = 1, 70 do
			local item = bytes(deep)
			deep = hex(bytes "02000500" .. bytes "0000" .. string.pack("<s4", string.pack("<s4", item)))
		end
		raises("The table is too deep", s1.decode, s1, "Pet", bytes(deep))
	end)

	it("are at most 16 MiB", function()
		local most = ("x"):rep(0x1000000 - 8)
		assert.equal(0x1000000, #s1:encode("Pet", { tag = most }))
		raises("object is too large (>16777216)", s1.encode, s1, "Pet", { tag = most .. "x" })
		raises("object is too large", s1.encode, s1, "Pet", { tag = most .. most })
		local endless = setmetatable({}, { __index = function() return 1 end })
		raises("object is too large", s1.encode, s1, "All", { ai = endless })
		raises("object is too large", sproto.unpack, bytes("ffff" .. ("00"):rep(2048)):rep(8193))
		raises("object is too large (>8)", core.unpack, bytes "0000", nil, 8)
	end)

	it("decode from memory", function()
		local message = s1:encode("Pet", { tag = "owl" })
		local msg, size = skynet.pack(message)
		-- skip what the serialisation puts before the string
		assert.has_error(function() core.decode(core.querytype(s1.__cobj, "Pet"), msg, -1) end)
		skynet.trash(msg, size)
		raises("Need a string or userdata", s1.decode, s1, "Pet", 1)
		raises("Need a string or userdata", s1.decode, s1, "Pet")
	end)
end)

describe("sproto.pack", function()
	it("gives the bytes of the vectors", function()
		local function rep(b, n)
			return bytes(b):rep(n)
		end
		for _, v in ipairs {
			{ rep("8a", 30), "ff03" .. ("8a"):rep(30) .. "0000" },
			{ bytes "080000000300020019000000aa010000", "510803023119aa01" },
			{ "", "" }, { "\1", "0101" }, { rep("00", 8), "00" },
			{ rep("01", 6), "3f" .. ("01"):rep(6) }, { rep("01", 7), "7f" .. ("01"):rep(7) },
			{ rep("01", 8), "ff00" .. ("01"):rep(8) }, { rep("01", 15), "ff01" .. ("01"):rep(15) .. "00" },
			{ rep("01", 14) .. "\0\0" .. rep("00", 8), "ff01" .. ("01"):rep(14) .. "0000" .. "00" },
			{ rep("01", 15) .. "\0" .. rep("02", 5) .. "\0\0\0",
				"ff01" .. ("01"):rep(15) .. "00" .. "1f0202020202" },
			{ rep("01", 7) .. "\0" .. rep("01", 8), "7f" .. ("01"):rep(7) .. "ff00" .. ("01"):rep(8) },
			{ rep("03", 2056), "ffff" .. ("03"):rep(2048) .. "ff00" .. ("03"):rep(8) },
		} do
			assert.equal(v[2], hex(sproto.pack(v[1])))
			local back = sproto.unpack(bytes(v[2]))
			assert.equal(0, #back % 8)
			assert.equal(v[1] .. ("\0"):rep(#back - #v[1]), back)
			assert.is_true(#back - #v[1] < 8)
		end
	end)

	it("is undone by unpack, whatever the bytes", function()
		for seed = 1, 300 do
			math.randomseed(seed)
			local parts = {}
			for i = 1, math.random(0, 400) do
				parts[i] = math.random(10) > 3 and string.char(math.random(0, 255)) or "\0"
			end
			local s = table.concat(parts)
			local back = sproto.unpack(sproto.pack(s))
			assert.equal(s, back:sub(1, #s), "seed " .. seed)
			assert.equal(("\0"):rep(#back - #s), back:sub(#s + 1))
		end
	end)

	it("refuses what's cut off", function()
		for _, m in ipairs { "ff", "ff00616263", "0361", "80" } do
			raises("Invalid unpack stream", sproto.unpack, bytes(m))
		end
	end)
end)

describe("sproto.core", function()
	local bundle = bytes(vectors.p1_bundle)

	it("finds types and protocols", function()
		local h = core.newproto(bundle)
		assert.equal("userdata", type(h))
		assert.is_nil(core.querytype(h, "none"))
		local tag, req, resp = core.protocol(h, "ask")
		assert.equal(1, tag)
		assert.equal(core.querytype(h, "ask.request"), req)
		assert.equal(core.querytype(h, "ask.response"), resp)
		assert.same({ "now", nil, core.querytype(h, "now.response") }, { core.protocol(h, 2) })
		local _, none, null = core.protocol(h, "ack")
		assert.is_nil(none)
		assert.equal("userdata", type(null))
		assert.equal("", core.encode(null, nil))
		assert.equal("", core.encode(nil, nil))
		assert.equal(0, select("#", core.decode(null, "")))
		raises("nil expected, got table", core.encode, null, {})
		raises("nil expected", core.encode, nil)
		assert.equal(0, select("#", core.protocol(h, 77)))
		assert.equal(0, select("#", core.protocol(h, "none")))
		raises("Should be number or string", core.protocol, h, true)
		core.deleteproto(h)
	end)

	it("refuses handles of nothing", function()
		raises("Need a sproto object", core.deleteproto, nil)
		raises("Need a sproto object", core.querytype, nil, "x")
		raises("Need a sproto object", core.querytype, io.stdout, "x")
		for _, f in ipairs { "protocol", "dumpproto", "default" } do
			raises("Need a sproto_type object", core[f], nil, "x")
		end
		raises("Need a sproto_type object", core.encode, io.stdout, {})
		raises("Need a sproto_type object", core.decode, "x", "")
	end)

	it("knows that a schema is gone", function()
		local h = core.newproto(bundle)
		local t = core.querytype(h, "package")
		assert.same({ type = 1 }, (core.decode(t, bytes "01000400")))
		raises("Need a sproto_type object", core.encode, h, {})
		raises("Need a sproto object", core.querytype, t, "package")
		core.deleteproto(h)
		raises("Need a sproto_type object", core.encode, t, {})
		raises("Need a sproto_type object", core.decode, t, "\0\0")
		raises("Need a sproto object", core.querytype, h, "package")
		raises("Need a sproto object", core.deleteproto, h)
		raises("Need a sproto object", core.saveproto, h, 9)
	end)

	it("keeps a schema while a message of it is made", function()
		local h = core.newproto(parser.parse ".A { x 0 : integer b 1 : *A c 2 : B } .B { y 0 : string }")
		local t = core.querytype(h, "A")
		local value = setmetatable({ c = { y = "end" } }, { __index = function(_, k)
			if k == "x" then
				core.deleteproto(h)
				collectgarbage()
				collectgarbage()
				return 7
			end
		end })
		assert.equal("0300" .. "1000" .. "0100" .. "0000" .. "0b000000" .. "01000000" .. "03000000" .. hex "end",
			hex(core.encode(t, value)))
		raises("Need a sproto_type object", core.encode, t, {})
	end)

	it("keeps a schema that only the running call refers to", function()
		local message = sproto.parse(".A { x 0 : *string }"):encode("A", { x = { "a", "b", "c" } })
		collectgarbage("incremental", 10, 1000)
		for _ = 1, 300 do
			assert.same({ x = { "a", "b", "c" } },
				(sproto.parse(".A { x 0 : *string }"):decode("A", message)))
		end
		collectgarbage("incremental", 200, 100)
	end)

	it("refuses malformed bundles", function()
		assert.equal(0, select("#", core.newproto ""))
		assert.equal(0, select("#", core.newproto "hello, world"))
		for i = 0, #bundle - 1 do
			assert.equal(0, select("#", core.newproto(bundle:sub(1, i))))
		end
		-- every change of a byte gives a schema or nothing, and a schema can be used
		for _, original in ipairs { bundle, bytes(vectors.s1_bundle) } do
			for i = 1, #original do
				if i % 100 == 0 then
					skynet.sleep(0)
				end
				local c = original:byte(i)
				for _, other in ipairs { 0, c ~ 1, c ~ 0x80, (c + 2) & 255, 255 } do
					local h = core.newproto(original:sub(1, i - 1) .. string.char(other) .. original:sub(i + 1))
					if h then
						local t = core.querytype(h, "All") or core.querytype(h, "package")
						if t then
							core.default(t)
							pcall(core.decode, t, bytes "020017000000020000000000")
						end
						core.deleteproto(h)
					end
				end
			end
		end
		local two = ".A { x 0 : integer y 1 : integer }"
		assert.truthy(core.newproto(parser.parse(two)))
		local same_tag = hex(parser.parse(two)):gsub("0200010004000100000079", "0200010002000100000079")
		assert.is_nil(core.newproto(bytes(same_tag)))
	end)

	it("gives defaults", function()
		local sp = sproto.parse(".Pet { tag 0 : string legs 1 : integer wild 2 : boolean young 3 : *Pet " ..
			"kin 4 : Pet n 5 : integer(2) a 6 : *double }")
		assert.same({ tag = "", legs = 0, wild = false, young = { __array = "Pet" }, kin = { __type = "Pet" },
			n = 0.0, a = { __array = 0.0 } }, sp:default "Pet")
		assert.equal("float", math.type(sp:default("Pet").n))
		local p1 = sproto.new(bundle)
		assert.same({ q = "" }, p1:default("ask", "REQUEST"))
		assert.same({ a = false }, p1:default("ask", "RESPONSE"))
		assert.equal(0, select("#", p1:default("now", "REQUEST")))
		raises("Invalid type", p1.default, p1, "ask", "request")
		raises("Need a sproto_type object", p1.default, p1, "ack", "RESPONSE")
	end)
end)

describe("sproto objects", function()
	local p1 = sproto.new(bytes(vectors.p1_bundle))

	it("answer questions", function()
		assert.is_true(p1:exist_type "package")
		assert.is_false(p1:exist_type "none")
		assert.is_true(p1:exist_proto "ask")
		assert.is_true(p1:exist_proto(5))
		assert.is_false(p1:exist_proto(77))
		local ask = p1:queryproto "ask"
		assert.equal(ask, p1:queryproto(1))
		assert.same({ "ask", 1 }, { ask.name, ask.tag })
		assert.is_nil(p1:queryproto("tell").request)
		raises("none not found", p1.queryproto, p1, "none")
		raises("the bundle is malformed", sproto.new, "x")
	end)

	it("encode and decode bodies", function()
		assert.same({ "", 4 }, { p1:request_encode("tell", { x = 1 }) })
		assert.same({ p1:encode("ask.request", { q = "a" }), 1 }, { p1:request_encode("ask", { q = "a" }) })
		assert.equal("", p1:response_encode("tell"))
		assert.same({ { q = "a" }, "ask" }, { p1:request_decode("ask", (p1:request_encode("ask", { q = "a" }))) })
		assert.same({ n = 2, nil, "tell" }, table.pack(p1:request_decode("tell", "")))
		assert.same({ { a = true }, 4 }, { p1:response_decode("ask", p1:response_encode("ask", { a = true })) })
		assert.equal(0, select("#", p1:response_decode("tell", "")))
		assert.equal(0, select("#", p1:response_decode("ack", "")))
		raises("attempt to index a nil value", p1.request_encode, p1, "ask")
	end)
end)

describe("sproto hosts", function()
	local p1 = sproto.new(bytes(vectors.p1_bundle))
	local client, server = p1:host(), p1:host "package"
	local request = client:attach(p1)

	it("speak the bytes of the vectors", function()
		local function exchange(name, args, session, ud, sent, answer, answer_ud, answered)
			local message = request(name, args, session, ud)
			assert.equal(sent, hex(message))
			local kind, got, body, reply, got_ud = server:dispatch(message)
			assert.same({ "REQUEST", name }, { kind, got })
			assert.same(args, body)
			assert.equal(ud, got_ud)
			local back = reply(answer, answer_ud)
			assert.equal(answered, hex(back))
			local kind2, got2, result, ud2 = client:dispatch(back)
			assert.same({ "RESPONSE", session }, { kind2, got2 })
			assert.same(answer, result)
			assert.equal(answer_ud, ud2)
			raises("Unknown session", client.dispatch, client, back)
		end
		exchange("ask", { q = "hey" }, 1, nil, "5502040401c40368650179", { a = true }, nil, "55020104010104")
		exchange("ask", { q = "hey" }, 300, "UD", "3503045a027102554401c40368650179", { a = false }, "du",
			"3503015a0271026475010102")
		exchange("now", nil, 2, nil, "15020606", { t = 100000 }, nil, "5502010601c404a0860101")
		exchange("ack", nil, 3, nil, "15020808", nil, nil, "15020108")
		exchange("tell", nil, 4, nil, "15020a0a", nil, nil, "1502010a")
	end)

	it("send without a session", function()
		assert.equal("05010a", hex(request "tell"))
		local _, name, args, reply = server:dispatch(request "tell")
		assert.same({ "tell", nil, nil }, { name, args, reply })
		assert.equal("15010c01f104ffffffff", hex(request("put", { n = -1 })))
		assert.same({ n = -1 }, (select(3, server:dispatch(request("put", { n = -1 })))))
		raises("attempt to index a nil value", request, "put")
	end)

	it("refuse what they can't match", function()
		raises("Unknown session", client.dispatch, client, bytes "15020108")
		raises("session not found", client.dispatch, client, sproto.pack(p1:encode("package", {})))
		raises("77 not found", client.dispatch, client, sproto.pack(p1:encode("package", { type = 77 })))
		raises("nothing not found", request, "nothing")
		raises("type package not found", sproto.parse(".A {}").host, sproto.parse ".A {}")
		request("ask", { q = "" }, 9)
		assert.is_true(client:forget(9))
		assert.is_false(client:forget(9))
		local small = p1:host("package", 16)
		raises("object is too large (>16)", small.dispatch, small, request("ask", { q = ("x"):rep(20) }))
	end)
end)

describe("sprotoloader", function()
	it("keeps schemas in slots", function()
		raises("nil sproto at index 11", loader.load, 11)
		raises("Invalid global slot index 16", loader.load, 16)
		raises("Invalid global slot index -1", loader.save, parser.parse ".A {}", -1)
		raises("malformed", loader.save, "x", 11)
		raises("Can't open sproto file", loader.register, "/nonexistent/file.sproto", 11)
		loader.save(parser.parse ".A { x 0 : integer }", 11)
		local first = loader.load(11)
		assert.equal("01000400", hex(first:encode("A", { x = 1 })))
		loader.save(parser.parse ".A { x 1 : integer }", 11)
		assert.equal("020001000400", hex(loader.load(11):encode("A", { x = 1 })))
		assert.equal("01000400", hex(first:encode("A", { x = 1 })))
	end)

	it("shares them between services, longer than the one that saved them", function()
		local address = skynet.newservice "sproto_slots"
		assert.equal("ended", skynet.call(address, "lua", "save", 12, ".A { x 2 : integer }"))
		assert.equal("020003000400", hex(loader.load(12):encode("A", { x = 1 })))
	end)

	it("survives services that use, save and delete at once", function()
		local left, done, workers = 6, 0, {}
		for i = 1, 6 do
			workers[i] = skynet.newservice "sproto_slots"
		end
		local main = coroutine.running()
		for i, w in ipairs(workers) do
			skynet.fork(function()
				local ok, n = pcall(skynet.call, w, "lua", "race", 13, ".A { x 0 : integer s 1 : *A }", i)
				done = done + (ok and n or 0)
				left = left - 1
				skynet.wakeup(main)
			end)
		end
		while left > 0 do
			skynet.wait(main)
		end
		assert.equal(6 * 200, done)
	end)
end)
