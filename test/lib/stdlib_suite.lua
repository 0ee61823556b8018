--- What Lua promises, as a list of { name, function }: run by test/unit/stdlib_spec.lua inside a
--- service, and by test/c/lua_share_test.c as private and as shared code, in several threads, with
--- the collector and the stack made nervous. Only plain Lua, so that the C test can run it.

local suite = {}

local function it(name, f)
	suite[#suite + 1] = { name, f }
end

local function eq(expected, got)
	if expected ~= got and not (expected ~= expected and got ~= got) then
		error(("expected %s, got %s"):format(tostring(expected), tostring(got)), 2)
	end
end

local function fails(pattern, f, ...)
	local ok, err = pcall(f, ...)
	if ok then
		error("no error, but " .. pattern, 2)
	elseif not tostring(err):find(pattern) then
		error(("error %q instead of %q"):format(tostring(err), pattern), 2)
	end
end

local function list(t)
	local s = {}
	for i = 1, #t do
		s[i] = tostring(t[i])
	end
	return table.concat(s, " ")
end

-- ---- the language ----

it("arithmetic keeps integers and floats apart", function()
	eq("integer", math.type(3 + 4))
	eq("float", math.type(6 / 2))
	eq(-4, -7 // 2)
	eq(1, -7 % 2)
	eq(-1.0, math.fmod(-7, 2))
	eq(math.mininteger, math.maxinteger + 1)
	eq(8.0, 2 ^ 3)
	eq(5, "2" + 3)
	eq(10, 0xA | 2)
	eq(-1, ~0)
	eq(1 << 62, 2 ^ 62 // 1 | 0)
	eq(0, 1 << 64)
	fails("attempt to perform arithmetic on a nil value %(global 'nothing'%)", function()
		return nothing + 1 -- luacheck: ignore
	end)
	fails("attempt to divide by zero", function() return 1 // 0 end)
	fails("number has no integer representation", function() return 1.5 | 1 end)
end)

it("comparisons follow type and value", function()
	eq(true, 1 == 1.0)
	eq(false, "1" == 1)
	eq(true, "a" < "b" and "a" < "aa" and "Z" < "a")
	eq(true, 1 < 1.5 and math.maxinteger < math.huge)
	eq(false, 0 / 0 == 0 / 0)
	fails("attempt to compare number with string", function() return 1 < "2" end)
	fails("attempt to compare two table values", function() return {} < {} end)
end)

it("strings of all lengths are equal by content and work as keys", function()
	local t = {}
	for n = 0, 100 do
		local a, b = ("x"):rep(n), {}
		for i = 1, n do
			b[i] = "x"
		end
		b = table.concat(b)
		eq(true, a == b)
		t[a] = n
		eq(n, t[b])
		t[b] = n + 1
		eq(n + 1, t[a])
	end
	local n = 0
	for _ in pairs(t) do
		n = n + 1
	end
	eq(101, n)
end)

it("constants and computed strings are the same key", function()
	local t = { alpha = 1, ["beta"] = 2 }
	eq(1, t["al" .. "pha"])
	eq(2, t[("atebx"):sub(1, 4):reverse()])
	local k = string.char(97, 108, 112, 104, 97)
	t[k] = 3
	eq(3, t.alpha)
	t.alpha = nil
	eq(nil, t[k])
	eq("beta", next(t))
	eq(nil, next(t, "be" .. string.char(116, 97)))
	eq(true, rawequal(k, "alpha"))
	eq(1, ({ alpha = 1 })[k])
	for _, word in ipairs { "print", "__index", "end", "nil", "string" } do
		local s = {}
		for c in word:gmatch "." do
			s[#s + 1] = c
		end
		local w = table.concat(s)
		eq(true, w == word)
		eq(7, ({ [w] = 7 })[word])
	end
end)

it("closures share and keep upvalues", function()
	local function counter()
		local n = 0
		return function()
			n = n + 1
			return n
		end, function() return n end
	end
	local up, get = counter()
	local up2 = counter()
	up() up() up2()
	eq(2, get())
	local fs = {}
	for i = 1, 3 do
		fs[i] = function() i = i + 10 return i end
	end
	eq(11, fs[1]())
	eq(12, fs[2]())
	eq(21, fs[1]())
end)

it("varargs, multiple results and tail calls", function()
	local function f(...)
		return select("#", ...), ...
	end
	eq("3 1 nil 3", list { (function(...)
		local n, a, b, c = f(...)
		return n, a, tostring(b), c
	end)(1, nil, 3) } )
	local function loop(n)
		if n == 0 then
			return "done"
		end
		return loop(n - 1)
	end
	eq("done", loop(100000))
	eq(0, (f()))
	local t = table.pack(f(table.unpack({}, 1, 200)))
	eq(201, t.n)
end)

it("goto, numeric and generic for, repeat", function()
	local s = {}
	for i = 10, 1, -3 do
		s[#s + 1] = i
	end
	eq("10 7 4 1", list(s))
	for i = 1, 3 do
		for j = 1, 3 do
			if j == 2 then
				goto continue
			end
			s[#s + 1] = i * j
			::continue::
		end
	end
	eq("10 7 4 1 1 3 2 6 3 9", list(s))
	local n = 0
	for _ = math.maxinteger - 1, math.maxinteger do
		n = n + 1
	end
	eq(2, n)
	local i = 0
	repeat
		local done = i == 5
		i = i + 1
	until done
	eq(6, i)
	fails("'for' step is zero", function()
		for _ = 1, 2, 0 do end -- luacheck: ignore
	end)
end)

it("integer division of labour: constants and closed variables", function()
	local x <const> = 42
	local log = {}
	do
		local a <close> = setmetatable({}, { __close = function() log[#log + 1] = "a" end }) -- luacheck: ignore
		local b <close> = setmetatable({}, { __close = function(_, e) log[#log + 1] = tostring(e) end }) -- luacheck: ignore
	end
	eq("nil a", list(log))
	pcall(function()
		local c <close> = setmetatable({}, { __close = function(_, e) log[#log + 1] = e end }) -- luacheck: ignore
		error("oops", 0)
	end)
	eq("nil a oops", list(log))
	eq(42, x)
end)

-- ---- metatables ----

it("metamethods of arithmetic, comparison, call, length, concatenation", function()
	local mt = {}
	local function new(v)
		return setmetatable({ v = v }, mt)
	end
	local ops = { add = 1, sub = 2, mul = 3, div = 4, mod = 5, pow = 6, idiv = 7, band = 8, bor = 9,
		bxor = 10, shl = 11, shr = 12 }
	for name, n in pairs(ops) do
		mt["__" .. name] = function(a, b)
			return n * 100 + (type(a) == "table" and a.v or a) * 10 + (type(b) == "table" and b.v or b)
		end
	end
	local a, b = new(1), new(2)
	eq(112, a + b) eq(212, a - b) eq(312, a * b) eq(412, a / b) eq(512, a % b) eq(612, a ^ b)
	eq(712, a // b) eq(812, a & b) eq(912, a | b) eq(1012, a ~ b) eq(1112, a << b) eq(1212, a >> b)
	eq(151, 5 + a) eq(115, a + 5)
	mt.__unm = function(x) return -x.v end
	mt.__bnot = function(x) return ~x.v end
	mt.__len = function(x) return x.v * 100 end
	mt.__call = function(x, ...) return x.v, ... end
	mt.__concat = function(x, y)
		return (type(x) == "table" and x.v or x) .. ":" .. (type(y) == "table" and y.v or y)
	end
	mt.__eq = function(x, y) return x.v == y.v end
	mt.__lt = function(x, y) return x.v < y.v end
	mt.__le = function(x, y) return x.v <= y.v end
	mt.__tostring = function(x) return "obj" .. x.v end
	mt.__name = "Object"
	eq(-1, -a) eq(~1, ~a) eq(200, #b) eq("1:x", a .. "x") eq("x:1", "x" .. a)
	eq("1 5 6", list { a(5, 6) })
	eq(true, a == new(1)) eq(false, a == b) eq(true, a < b) eq(true, a <= b) eq(false, a > b)
	eq("obj2", tostring(b))
end)

it("__index and __newindex, as tables and as functions", function()
	local log = {}
	local base = setmetatable({ x = 1 }, { __index = function(_, k) return k .. "!" end })
	local o = setmetatable({}, { __index = base, __newindex = function(t, k, v)
		log[#log + 1] = k
		rawset(t, k, v)
	end })
	eq(1, o.x)
	eq("y!", o.y)
	o.z = 5
	o.z = 6
	eq("z", list(log))
	eq(6, o.z)
	local store = {}
	local p = setmetatable({}, { __newindex = store })
	p.a = 1
	eq(1, store.a)
	eq(nil, rawget(p, "a"))
	fails("attempt to index a nil value %(field 'c'%)", function()
		local q = { c = nil }
		return q.c.d
	end)
	fails("attempt to call a nil value %(method 'nope'%)", function() o.z = nil ("x"):nope() end)
end)

it("metamethods that appear later are seen", function()
	local mt = {}
	local o = setmetatable({}, mt)
	eq(nil, o.x)
	eq(0, #o)
	eq(false, o == setmetatable({}, mt))
	mt.__index = function() return "late" end
	mt["__" .. "len"] = function() return 9 end
	mt.__eq = function() return true end
	eq("late", o.x)
	eq(9, #o)
	eq(true, o == setmetatable({}, mt))
	mt.__index = nil
	eq(nil, o.x)
end)

it("protected metatables, weak tables and finalizers", function()
	local o = setmetatable({}, { __metatable = "locked" })
	eq("locked", getmetatable(o))
	fails("cannot change a protected metatable", setmetatable, o, {})
	local weak = setmetatable({}, { __mode = "v" })
	local keys = setmetatable({}, { __mode = "k" })
	weak[1], weak.s = {}, "a string stays"
	keys[{}] = 1
	local held = {}
	keys[held] = { held }
	local n = 0
	do
		local x = setmetatable({}, { __gc = function() n = n + 1 end }) -- luacheck: ignore
	end
	collectgarbage() collectgarbage()
	eq(nil, weak[1])
	eq("a string stays", weak.s)
	eq(held, next(keys))
	eq(nil, next(keys, held))
	eq(true, n >= 0)
end)

-- ---- libraries ----

it("string: sub, byte, char, rep, reverse, case, len", function()
	local s = "hello"
	eq("ell", s:sub(2, -2)) eq("", s:sub(4, 2)) eq("hello", s:sub(-100, 100)) eq("o", s:sub(-1))
	eq("104 111", list { s:byte(1), s:byte(-1) })
	eq("hi", string.char(104, 105)) eq("ab,ab", ("ab"):rep(2, ",")) eq("", ("x"):rep(-1))
	eq("olleh", s:reverse()) eq("HELLO", s:upper()) eq(5, #s)
	fails("value out of range", string.char, 256)
	fails("resulting string too large", string.rep, "x", 1 << 62)
end)

it("string: find, match, gmatch, gsub", function()
	eq("2 3", list { ("hello"):find "el" })
	eq("3 3 l", list { ("hello"):find "(l)" })
	eq(nil, ("a.b"):find(".", 2, true) and ("ab"):find(".", 1, true))
	eq("key value", list { ("key = value"):match "^(%w+)%s*=%s*(%w+)$" })
	eq("2", tostring(("abc"):match "()b"))
	local words = {}
	for w in ("one two  three"):gmatch "%a+" do
		words[#words + 1] = w
	end
	eq("one two three", list(words))
	eq("h-ll- 2", list { ("hello"):gsub("[eo]", "-") })
	eq("<h>ello 1", list { ("hello"):gsub("%w", "<%0>", 1) })
	eq("1b 1", list { ("ab"):gsub("a", { a = 1 }) })
	eq("AB", (("ab"):gsub("%w", string.upper)))
	eq("(f(x))", ("g(f(x))"):match "%b()")
	eq("THE", (("THE (quick) fox"):match "%f[%a]%a+"))
	fails("malformed pattern", string.find, "a", "[a")
	fails("invalid capture index", string.gsub, "a", "a", "%2")
	fails("pattern too complex", function()
		return ("x"):rep(300000):match(("x?"):rep(300000) .. ".-b")
	end)
end)

it("string: format, pack and unpack", function()
	eq("  42|42   |0042|2a|52", ("%4d|%-5d|%04d|%x|%o"):format(42, 42, 42, 42, 42))
	eq("3.14 1e+10 0x1p+0 1.5", ("%.2f %g %a %s"):format(3.14159, 1e10, 1.0, 1.5))
	eq([["a\
\0b\"" nil true]], ("%q %s %s"):format('a\n\0b"', nil, true))
	eq("abc  x", ("%.3s  %c"):format("abcdef", 120))
	fails("bad argument #2 to 'format' %(number expected, got string%)", function()
		return string.format("%d", "x"), 1
	end)
	local b = string.pack("<i2 >I4 z s1 d", -2, 7, "zero", "len", 1.5)
	eq("-2 7 zero len 1.5 24", list { string.unpack("<i2 >I4 z s1 d", b) })
	eq(8, string.packsize "<i4i4")
	fails("data string too short", string.unpack, "i8", "abc")
end)

it("table: insert, remove, concat, unpack, move, sort", function()
	local t = { 1, 2, 3 }
	table.insert(t, 4)
	table.insert(t, 1, 0)
	eq("0 1 2 3 4", list(t))
	eq(4, table.remove(t))
	eq(0, table.remove(t, 1))
	eq("1-2-3", table.concat(t, "-"))
	eq("2,3", table.concat(t, ",", 2))
	eq("2 3", list { table.unpack(t, 2) })
	table.move(t, 1, 3, 3)
	eq("1 2 1 2 3", list(t))
	table.sort(t)
	eq("1 1 2 2 3", list(t))
	table.sort(t, function(a, b) return a > b end)
	eq("3 2 2 1 1", list(t))
	local words = {}
	for i = 1, 200 do
		words[i] = tostring(i * 7919 % 211)
	end
	table.sort(words)
	for i = 2, 200 do
		eq(true, words[i - 1] <= words[i])
	end
	fails("position out of bounds", table.insert, t, 9, 1)
	fails("invalid order function", table.sort, { 1, 2, 3, 4, 5 }, function() return true end)
	fails("invalid value %(table%) at index 2 in table for 'concat'", table.concat, { 1, {} })
end)

it("tables grow, shrink and are traversed", function()
	local t = {}
	for i = 1, 1000 do
		t[i] = i
		t["k" .. i] = i
		t[i + 0.5] = i
	end
	eq(1000, #t)
	local n = 0
	for k, v in pairs(t) do
		if type(k) == "string" then
			eq("k" .. v, k)
		end
		t[k] = nil
		n = n + 1
	end
	eq(3000, n)
	eq(nil, next(t))
	for i = 1000, 1, -1 do
		t[i] = i
	end
	eq(1000, #t)
	eq("table: border", (#{ 1, 2, nil, 4 } == 4 or #{ 1, 2, nil, 4 } == 2) and "table: border")
	fails("index is nil", function() t[nil] = 1 end)
	fails("index is NaN", function() t[0 / 0] = 1 end)
	fails("invalid key to 'next'", next, {}, "x")
	t[2 ^ 53] = "float key"
	eq("float key", t[1 << 53])
end)

it("math", function()
	eq(3, math.floor(3.7)) eq(4, math.ceil(3.2)) eq("float", math.type(1e100))
	eq(5, math.max(1, 5, 3)) eq(1, math.min(4, 1)) eq(7, math.abs(-7))
	eq(3, math.tointeger(3.0)) eq(nil, math.tointeger(3.5)) eq(true, math.ult(1, -1))
	eq(true, math.pi > 3.14 and math.sqrt(16) == 4.0 and math.exp(0) == 1.0)
	math.randomseed(42)
	local a = { math.random(100), math.random(100), math.random() }
	math.randomseed(42)
	eq(a[1], math.random(100))
	eq(a[2], math.random(100))
	eq(a[3], math.random())
	fails("interval is empty", math.random, 2, 1)
end)

it("utf8", function()
	local s = "aé€😀"
	eq(4, utf8.len(s))
	eq("97 233 8364 128512", list { utf8.codepoint(s, 1, -1) })
	eq(s, utf8.char(97, 233, 8364, 128512))
	eq(4, utf8.offset(s, 3))
	eq("nil 1", list { tostring((utf8.len "\xff")), (select(2, utf8.len "\xff")) })
	local n = 0
	for _, c in utf8.codes(s) do
		n = n + c
	end
	eq(97 + 233 + 8364 + 128512, n)
	eq(4, select(2, s:gsub(utf8.charpattern, "")))
end)

it("tostring, tonumber, select, type, rawequal", function()
	eq("nil true 1 1.0 1e+100", ("%s %s %s %s %s"):format(nil, true, 1, 1.0, 1e100))
	eq(255, tonumber "0xff") eq(nil, tonumber "1x") eq(35, tonumber("z", 36)) eq(1.5, tonumber " 1.5 ")
	eq("3 4", list { select(-2, 1, 2, 3, 4) })
	eq("function", type(type))
	eq(false, rawequal({}, {}))
	fails("bad argument #1 to 'type' %(value expected%)", type)
	eq("-nan inf", (tostring(0 / 0):gsub("^nan", "-nan")) .. " " .. tostring(math.huge))
end)

it("error, assert, pcall, xpcall and error positions", function()
	local function where(level)
		error("message", level)
	end
	fails(":%d+: message$", where)
	fails("^message$", where, 0)
	local t = {}
	local ok, e = pcall(error, t)
	eq(false, ok)
	eq(t, e)
	fails("assertion failed!", assert, false)
	eq("x", (select(2, pcall(assert, nil, "x"))))
	eq("handled: boom", (select(2, xpcall(error, function(m) return "handled: " .. m end, "boom"))))
	fails("attempt to index a number value %(local 'n'%)", function()
		local n = 5
		return n.x.y
	end)
	fails("attempt to concatenate a table value %(upvalue 't'%)", function() return "x" .. t end)
	fails("bad argument #1 to 'insert' %(table expected, got number%)", function() table.insert(1, 2) end)
	fails("attempt to call a number value %(field 'five'%)", function()
		local o = { five = 5 }
		o.five()
	end)
end)

it("a stack that overflows", function()
	fails("stack overflow", function()
		local function f()
			return 1 + f()
		end
		return f()
	end)
end)

it("coroutines", function()
	local co = coroutine.create(function(a, b)
		local c = coroutine.yield(a + b)
		local d, e = coroutine.yield(c * 2)
		return d + e
	end)
	eq("true 3", list { coroutine.resume(co, 1, 2) })
	eq("suspended", coroutine.status(co))
	eq("true 20", list { coroutine.resume(co, 10) })
	eq("true 7", list { coroutine.resume(co, 3, 4) })
	eq("false cannot resume dead coroutine", list { coroutine.resume(co) })
	local gen = coroutine.wrap(function()
		for i = 1, 3 do
			pcall(coroutine.yield, i)
		end
	end)
	eq("1 2 3", list { gen(), gen(), gen() })
	local bad = coroutine.wrap(function() error "inside" end)
	fails("inside", bad)
	local closing = coroutine.create(function()
		local x <close> = setmetatable({}, { __close = function() co = "closed" end }) -- luacheck: ignore
		coroutine.yield()
	end)
	coroutine.resume(closing)
	eq(true, coroutine.close(closing))
	eq("closed", co)
	local sorted = coroutine.wrap(function()
		local t = setmetatable({}, { __index = function(_, k) return coroutine.yield(k) end })
		return t.key
	end)
	eq("key", sorted())
	eq("value", sorted "value")
	eq(false, (select(2, coroutine.running())) and coroutine.isyieldable())
end)

it("load: text, binary, environments, errors, stripped code", function()
	eq(7, load "return 3 + 4"())
	eq(5, load("return x", "=c", "t", { x = 5 })())
	local parts = { "return ", "1", "2" }
	eq(12, load(function() return table.remove(parts, 1) end)())
	eq("[string \"x x\"]:1: syntax error near 'x'", (select(2, load "x x")))
	eq("attempt to load a binary chunk (mode is 't')", (select(2, load(string.dump(it), "b", "t"))))
	local n = 0
	local function f(a)
		local unused = "debug name"
		n = n + 1
		return a .. unused, function() return n end
	end
	local full, bare = string.dump(f), string.dump(f, true)
	eq(true, #bare < #full)
	for _, code in ipairs { full, bare } do
		local g = assert(load(code, "dumped", "b"))
		debug.upvaluejoin(g, 1, f, 1)
		local s, inner = g "x"
		eq("xdebug name", s)
		eq(n, inner())
	end
	eq(2, n)
	local g = load(bare)
	eq("=?", debug.getinfo(g, "S").source)
	eq("(no name)", debug.getupvalue(g, 1))
	fails("%?:%-1: attempt to index a nil value", load(string.dump(load "local a; return a.b", true)))
	fails("bad binary format", function() assert(load(full:sub(1, 40), "cut")) end)
end)

-- ---- debug ----

it("debug.getinfo with every option", function()
	local function f(a, b, ...) -- luacheck: ignore
		return debug.getinfo(1, "nSlutfrL"), a, ...
	end
	local i = f(1, 2, 3)
	eq("Lua", i.what) eq(f, i.func) eq(2, i.nparams) eq(true, i.isvararg) eq(false, i.istailcall)
	eq("f", i.name) eq("local", i.namewhat)
	eq(i.linedefined + 1, i.currentline)
	eq(i.linedefined + 2, i.lastlinedefined)
	eq(true, i.activelines[i.linedefined + 1])
	eq(nil, i.activelines[i.linedefined - 1])
	eq(true, i.short_src:find "stdlib_suite" ~= nil)
	eq("C", debug.getinfo(print, "S").what)
	eq("main", debug.getinfo(load "", "S").what)
	fails("invalid option", debug.getinfo, 1, "x")
end)

it("locals, upvalues and their assignment", function()
	local up1, up2 = 1, "two"
	local function f(arg)
		local x = arg
		local names = {}
		for n = 1, 3 do
			names[n] = debug.getlocal(1, n)
		end
		eq("_ x", "_ " .. debug.setlocal(1, 2, "set"))
		eq("set", x)
		return list(names), up1, up2
	end
	eq("arg x names 1 two", list { f(0) })
	eq("arg", debug.getlocal(f, 1))
	local index = {}
	for n = 1, debug.getinfo(f, "u").nups do
		index[debug.getupvalue(f, n)] = n
	end
	eq("up1", debug.setupvalue(f, index.up1, 10))
	eq(10, up1)
	eq(true, debug.upvalueid(f, index.up1) ~= debug.upvalueid(f, index.up2))
end)

it("hooks count, lines, calls and returns", function()
	local lines, calls, counts = {}, 0, 0
	local function traced()
		local x = 1
		x = x + 1
		return x
	end
	debug.sethook(function(_, line) lines[#lines + 1] = line end, "l")
	traced()
	debug.sethook()
	local first = debug.getinfo(traced, "S").linedefined
	local seen = {}
	for _, l in ipairs(lines) do
		seen[l - first] = true
	end
	eq(true, seen[1] and seen[2] and seen[3])
	debug.sethook(function(event) calls = calls + (event:find "call" and 1 or 0) end, "cr")
	traced() traced()
	debug.sethook()
	eq(true, calls >= 2)
	debug.sethook(function() counts = counts + 1 end, "", 10)
	for _ = 1, 100 do
		traced()
	end
	debug.sethook()
	eq(true, counts > 20)
	eq(nil, (debug.gethook()))
end)

it("tracebacks name functions and lines", function()
	local text
	local function inner() -- luacheck: ignore
		text = debug.traceback("top", 1)
	end
	inner()
	eq(true, text:find "^top\nstack traceback:\n\t" ~= nil)
	eq(true, text:find "stdlib_suite%.lua:%d+: in .-'inner'" ~= nil)
	local co = coroutine.create(function() coroutine.yield() end)
	coroutine.resume(co)
	eq(true, debug.traceback(co):find "in function 'coroutine.yield'" ~= nil)
end)

it("the collector in both modes keeps what is alive", function()
	local before = collectgarbage "incremental"
	for _, mode in ipairs { "generational", "incremental" } do
		collectgarbage(mode)
		local keep = {}
		for i = 1, 300 do
			keep[i] = { name = "n" .. i, f = function() return i end }
			local junk = {} -- luacheck: ignore
			for j = 1, 5 do
				junk[j] = { ("j"):rep(j * 10) }
			end
			if i % 100 == 0 then
				collectgarbage "step"
			end
		end
		collectgarbage()
		for i = 1, 300 do
			eq("n" .. i, keep[i].name)
			eq(i, keep[i].f())
		end
	end
	collectgarbage(before)
	eq(true, collectgarbage "count" > 0)
end)

it("files and the system", function()
	local name = os.tmpname()
	local f = assert(io.open(name, "w"))
	f:write("first\n", 2, "\n", 3.5, "\nrest")
	f:close()
	f = assert(io.open(name))
	eq("first", f:read "l")
	eq("2 3.5", list { f:read("n", "n") })
	eq("\nrest", f:read "a")
	eq(0, f:seek "set")
	local n = 0
	for line in f:lines() do -- luacheck: ignore
		n = n + 1
	end
	eq(4, n)
	f:close()
	fails("attempt to use a closed file", f.read, f)
	os.remove(name)
	eq(nil, (io.open(name)))
	eq("1970-01-02", os.date("!%Y-%m-%d", 86400))
	eq(true, os.time { year = 2020, month = 1, day = 1 } > 0)
	eq(nil, os.getenv "NO_SUCH_VARIABLE_HERE")
end)

it("require finds, remembers and explains", function()
	package.preload["stdlib suite module"] = function(name, how)
		return { name = name, how = how }
	end
	local m = require "stdlib suite module"
	eq("stdlib suite module", m.name)
	eq(m, require "stdlib suite module")
	package.loaded["stdlib suite module"], package.preload["stdlib suite module"] = nil, nil
	fails("module 'no.such.module' not found", require, "no.such.module")
end)

return suite
