-- skynet.sharetable: what can be shared, reading, refusing writes, versions, update, many readers.

local eventually = require "eventually"
local skynet = require "skynet"
local sharetable = require "skynet.sharetable"
local core = require "skynet.sharetable.core"
local memory = require "skynet.memory"
require "skynet.manager"

local function reader()
	return skynet.newservice "sharereader"
end

local function run(addr, source, ...)
	return skynet.call(addr, "lua", "run", source, ...)
end

local function info(key)
	return skynet.call(sharetable.address, "debug", "INFO")[key]
end

-- how many versions the service keeps of a key
local function versions(key)
	local _, n = info(key).history:gsub("[^\n]+", "")
	return n
end

local function file(text)
	local name = os.tmpname()
	local f = assert(io.open(name, "w"))
	f:write(text)
	f:close()
	return name
end

local function shared(source, ...)
	sharetable.loadstring("spec", source, ...)
	return sharetable.query "spec"
end

describe("sharetable.query", function()
	it("returns nothing for an unknown key", function()
		assert.equal(0, select("#", sharetable.query "no such key"))
	end)

	it("gives true tables with native access", function()
		local t = shared [[return { 10, 20, 30, a = "x", sub = { b = { 1.5, true, false } },
			[2^53] = "big", [-1] = "minus", [1.25] = "float", [true] = "yes" }]]
		assert.equal("table", type(t))
		assert.is_nil(getmetatable(t))
		assert.equal(3, #t)
		assert.equal(20, t[2])
		assert.equal("x", t.a)
		assert.same({ 1.5, true, false }, t.sub.b)
		assert.equal("big", t[2 ^ 53])
		assert.equal("minus", t[-1])
		assert.equal("float", t[1.25])
		assert.equal("yes", t[true])
		assert.is_nil(t.nothing)
		assert.equal(3, rawlen(t))
		assert.equal("x", rawget(t, "a"))
		assert.is_true(rawequal(t.sub, t.sub))
		local n = 0
		for k, v in pairs(t) do
			assert.equal(v, t[k])
			n = n + 1
		end
		assert.equal(9, n)
		local list = {}
		for i, v in ipairs(t) do
			list[i] = v
		end
		assert.same({ 10, 20, 30 }, list)
		assert.equal("10,20,30", table.concat(t, ","))
		assert.same({ 10, 20, 30 }, { table.unpack(t) })
		assert.same({ 10, 20, 30 }, table.move(t, 1, 3, 1, {}))
		assert.is_true(core.is_sharedtable(t))
		assert.is_true(core.is_sharedtable(t.sub))
		assert.is_false(core.is_sharedtable {})
		assert.is_false(core.is_sharedtable(1))
	end)

	it("finds strings by content, however they came about", function()
		local long = ("k"):rep(100)
		local t = shared(("return { hp = 1, ['%s'] = 2, v = { 'hp', '%s' } }"):format(long, long))
		assert.equal(1, t["h" .. string.char(112)])
		assert.equal(2, t[("k"):rep(50) .. ("k"):rep(50)])
		local own = { ["h" .. "p"] = "own", [long] = "long" }
		assert.equal("own", own[t.v[1]])
		assert.equal("long", own[t.v[2]])
		own[t.v[1]] = "changed"
		assert.equal("changed", own.hp)
		assert.is_true(t.v[1] == "hp" and t.v[2] == long)
		assert.equal("hp", (next({ [t.v[1]] = 1 }, nil)))
		local set = {}
		for k in pairs(t) do
			set[k] = true
		end
		assert.is_true(set.hp and set.v and set[long])
	end)

	it("keeps functions without upvalues, aliases and cycles", function()
		local t = shared [[
			local t = { f = function(a, b) return a * b + #"xyz" end, sub = {} }
			t.self, t.again, t.native = t, t.sub, rawlen
			return t]]
		assert.equal(15, t.f(3, 4))
		assert.equal(t, t.self.self)
		assert.is_true(t.sub == t.again)
		assert.equal(rawlen, t.native)
		assert.equal("spec-less", pcall(t.f) == false and "spec-less")
	end)

	it("keeps the length of tables with holes, without a write", function()
		local t = shared "return { 1, 2, nil, 4, nil, nil, 7, nil, nil }"
		local n = #t
		assert.is_not_nil(t[n])
		assert.is_nil(t[n + 1])
		assert.equal(7, t[7])
		assert.equal(0, #shared "return {}")
		assert.equal(0, #shared "return { nil, nil }")
	end)

	it("can be the metatable and the __index of private tables", function()
		local class = shared [[return { __index = { name = "class" }, __name = "Thing",
			__add = function(a, b) return "sum" end }]]
		local o = setmetatable({}, class)
		assert.equal("class", o.name)
		assert.is_nil(o.other)
		assert.equal("sum", o + 1)
		assert.equal(class, getmetatable(o))
		assert.has_error(function()
			getmetatable(o).x = 1
		end)
		o.x = 1
		assert.equal(1, o.x)
		assert.is_true(o ~= setmetatable({}, class))
	end)

	it("can be packed", function()
		local t = shared "return { 1, 2, x = { y = 'z' } }"
		assert.same({ 1, 2, x = { y = "z" } }, (skynet.unpack(skynet.packstring(t))))
	end)
end)

describe("a shared table", function()
	local t
	before_each(function()
		t = shared "return { 1, 2, 3, a = 'b', sub = {} }"
	end)

	local writes = {
		["an existing field"] = function(o) o.a = 1 end,
		["a new field"] = function(o) o.new = 1 end,
		["an existing element"] = function(o) o[1] = 5 end,
		["a new element"] = function(o) o[4] = 5 end,
		["a computed key"] = function(o, k) o[k] = 5 end,
		["a field to nil"] = function(o) o.a = nil end,
		["a field of a sub-table"] = function(o) o.sub.x = 1 end,
	}
	for name, write in pairs(writes) do
		it("refuses to assign " .. name, function()
			assert.error_matches(function()
				write(t, "a")
			end, "attempt to change a table value")
		end)
	end

	it("names the variable", function()
		assert.error_matches(function()
			t.a = 1
		end, "attempt to change a table value %(upvalue 't'%)")
	end)

	it("refuses rawset, of old keys and new", function()
		for _, k in ipairs { "a", "new", 1, 4 } do
			assert.error_matches(function()
				rawset(t, k, 1)
			end, "attempt to change a shared table")
		end
	end)

	it("refuses setmetatable", function()
		for _, f in ipairs { setmetatable, debug.setmetatable } do
			assert.error_matches(function()
				f(t, {})
			end, "can't setmetatable to shared table")
		end
	end)

	it("refuses the table library", function()
		for _, f in ipairs {
			function() table.insert(t, 4) end,
			function() table.insert(t, 1, 0) end,
			function() table.remove(t) end,
			function() table.remove(t, 1) end,
			function() table.sort(t, function(a, b) return a > b end) end,
			function() table.move({ 9 }, 1, 1, 1, t) end,
		} do
			assert.error_matches(f, "attempt to change a table value")
		end
	end)

	it("refuses to be what __newindex leads to, and an environment that's written", function()
		local o = setmetatable({}, { __newindex = t })
		assert.error_matches(function()
			o.x = 1
		end, "attempt to change a table value")
		local f = load("a = 1", "=chunk", "t", t)
		assert.error_matches(f, "attempt to change a table value")
		assert.equal("b", load("return a", "=chunk", "t", t)())
	end)

	after_each(function()
		assert.same({ 1, 2, 3, a = "b", sub = {} }, t)
	end)
end)

describe("loading", function()
	it("runs files with arguments, and reads them anew each time", function()
		local name = file "local a, b, c = ... return { a = a, b = b, c = c }"
		sharetable.loadfile(name, 1, true, 2.5)
		local t = sharetable.query(name)
		assert.same({ a = 1, b = true, c = 2.5 }, t)
		local f = assert(io.open(name, "w"))
		f:write "return { changed = true }"
		f:close()
		sharetable.loadfile(name)
		assert.same({ changed = true }, sharetable.query(name))
		assert.same(1, t.a)
		sharetable.loadstring("by name", "@" .. name)
		assert.same({ changed = true }, sharetable.query "by name")
		os.remove(name)
	end)

	it("runs sources in a plain VM", function()
		local t = shared "return { skynet = skynet == nil, service = SERVICE_NAME == nil, lib = string ~= nil }"
		assert.same({ skynet = true, service = true, lib = true }, t)
	end)

	it("copies tables", function()
		local own = { 1, 2, { x = "y" } }
		sharetable.loadtable("own", own)
		own[1] = 5
		assert.same({ 1, 2, { x = "y" } }, sharetable.query "own")
	end)

	it("finds many at once", function()
		for i = 1, 3 do
			sharetable.loadtable("many" .. i, { i })
		end
		assert.same({ many1 = { 1 }, many3 = { 3 } },
			sharetable.queryall { "many1", "many3", "no such key" })
		local all = sharetable.queryall()
		assert.same({ 2 }, all.many2)
	end)

	for name, v in pairs {
		["a syntax error"] = "return {",
		["an error"] = "error 'boom'",
		["a number"] = "return 1",
		["nothing"] = "",
		["a metatable"] = "return { setmetatable({}, {}) }",
		["an upvalue"] = "local x = 1 return { function() return x end }",
		["a global in a function"] = "return { function() return print end }",
		["a thread"] = "return { coroutine.create(print) }",
		["a file handle"] = "return { io.stdout }",
		["a missing file"] = "@/no/such/file",
	} do
		it("refuses " .. name .. " and keeps the earlier version", function()
			sharetable.loadstring("kept", "return { 1 }")
			assert.error_matches(function()
				sharetable.loadstring("kept", v)
			end, "call failed")
			assert.same({ 1 }, sharetable.query "kept")
			sharetable.loadstring("kept", "return { 2 }")
			assert.same({ 2 }, sharetable.query "kept")
			assert.error_matches(function()
				sharetable.loadstring("never " .. name, v)
			end, "call failed")
			assert.is_nil(sharetable.query("never " .. name))
		end)
	end

	it("says what is wrong", function()
		local function fails(text, ...)
			local args = table.pack(...)
			assert.error_matches(function()
				core.matrix(table.unpack(args, 1, args.n))
			end, text)
		end
		fails("Can't share metatable", "return setmetatable({}, {})")
		fails("Invalid function with upvalue", "return { function() return print end }")
		fails("Invalid type %[userdata%]", "return { io.stdout }")
		fails("Invalid type %[thread%]", "return { coroutine.create(print) }")
		fails("Not a table, it's a number%.", "return 1")
		fails("Not a table, it's a nil%.", "")
		fails("boom", "error 'boom'")
		fails("Type invalid", "return {}", "text")
		fails("Type invalid", "return {}", {})
		fails("Only support light C function", "return {}", function() end)
		fails("Only support light C function", "return {}", string.gmatch("a", "a"))
		fails("cannot open", "@/no/such/file")
	end)
end)

describe("the core", function()
	it("has matrices that close", function()
		local m = core.matrix("local a, f = ... return { a, f }", 7, math.floor)
		local ptr = m:getptr()
		assert.is_true(m:size() > 0)
		assert.is_false(core.held(ptr))
		local t = core.clone(ptr)
		assert.is_true(core.held(ptr))
		m:close()
		m:close()
		assert.equal(0, m:size())
		assert.equal(0, select("#", m:getptr()))
		assert.equal(7, t[1])
		assert.equal(math.floor, t[2])
		assert.error_matches(function()
			core.clone(ptr)
		end, "no shared table")
		t = nil -- luacheck: ignore
		collectgarbage()
		assert.is_false(core.held(ptr))
	end)

	it("refuses addresses of anything else", function()
		local ptr, sz = skynet.pack(1)
		assert.error_matches(function()
			core.clone(ptr)
		end, "no shared table")
		skynet.trash(ptr, sz)
		for _, v in ipairs { 1, "x", {}, io.stdout } do
			assert.has_error(function()
				core.clone(v)
			end)
			assert.has_error(function()
				core.held(v)
			end)
		end
	end)

	it("lists the values on a coroutine's stack", function()
		local marker, extra = {}, {}
		local co = coroutine.create(function(...) -- luacheck: ignore
			local x = marker -- luacheck: ignore
			coroutine.yield()
		end)
		coroutine.resume(co, extra)
		local found = {}
		local n = core.stackvalues(co, found)
		local seen = {}
		for i = 1, n do
			seen[found[i]] = true
		end
		assert.is_true(seen[marker] and seen[extra])
	end)
end)

describe("sharetable.update", function()
	it("replaces every reference in the VM, by path", function()
		sharetable.loadstring("up", [[return { v = 1, sub = { v = 1, deep = { v = 1 } }, gone = {},
			list = { {1}, {1} } }]])
		local t = sharetable.query "up"
		local sub, deep, gone, second = t.sub, t.sub.deep, t.gone, t.list[2]
		local holder = { t = t, [sub] = "key", list = { deep }, gone = gone, [gone] = "gone key" }
		local function upvalue()
			return second[1]
		end
		local obj = setmetatable({}, { __index = sub })
		local co = coroutine.wrap(function()
			local mine = sub
			while true do
				coroutine.yield(mine.v)
			end
		end)
		assert.equal(1, co())
		sharetable.loadstring("up", "return { v = 2, sub = { v = 2, deep = { v = 2 } }, list = { {2}, {2} } }")
		assert.equal(1, t.v)
		sharetable.update "up"
		assert.equal(2, t.v)
		assert.equal(2, sub.v)
		assert.equal(2, deep.v)
		assert.is_nil(gone)
		assert.equal(t, holder.t)
		assert.equal("key", holder[sub])
		assert.equal(deep, holder.list[1])
		assert.is_nil(holder.gone)
		assert.equal(2, upvalue())
		assert.equal(2, obj.v)
		assert.equal(2, co())
		local n = 0
		for _ in pairs(holder) do
			n = n + 1
		end
		assert.equal(3, n)
	end)

	it("copes with aliased sub-tables and skipped versions", function()
		sharetable.loadstring("alias", "local s = { 1 } return { a = s, b = s }")
		local first = sharetable.query "alias"
		local s = first.b
		for i = 2, 5 do
			sharetable.loadstring("alias", ("local s = { %d } return { a = s, b = s }"):format(i))
			sharetable.query "alias"
		end
		sharetable.update("alias", "no such key")
		assert.equal(5, first.a[1])
		assert.equal(5, s[1])
	end)

	it("keeps strings and functions that came from an old version", function()
		sharetable.loadstring("strings", [[return { key = "a text of the old version",
			long = ("long"):rep(30), f = function() return "from the old function" end }]])
		local t = sharetable.query "strings"
		local key, long, f = t.key, t.long, t.f
		sharetable.loadstring("strings", "return { }")
		sharetable.update "strings"
		for _ = 1, 3 do
			collectgarbage()
		end
		assert.equal("a text of the old version", key)
		assert.equal(("long"):rep(30), long)
		assert.equal("from the old function", f())
		assert.is_nil(next(t))
	end)
end)

describe("versions", function()
	it("are deleted when nobody uses them", function()
		sharetable.loadstring("life", "return { 1 }")
		local a, b = reader(), reader()
		for _, r in ipairs { a, b } do
			run(r, "keep.t = sharetable.query 'life'")
		end
		sharetable.loadstring("life", "return { 2 }")
		assert.equal(2, versions "life")
		local history = info("life").history
		assert.is_truthy(history:find(skynet.address(a), 1, true))
		assert.is_truthy(history:find(skynet.address(b), 1, true))
		assert.is_true(info("life").size > 0)
		run(a, "sharetable.update 'life'")
		assert.equal(2, run(a, "return keep.t[1]"))
		assert.equal(1, run(b, "return keep.t[1]"))
		assert.equal(2, versions "life")
		run(b, "sharetable.update 'life'")
		eventually(function()
			return versions "life" == 1
		end)
		skynet.kill(a)
		skynet.kill(b)
	end)

	it("are deleted when the reader just forgets them", function()
		sharetable.loadstring("forgotten", "return { 1 }")
		local a = reader()
		run(a, "keep.t = sharetable.query 'forgotten'")
		sharetable.loadstring("forgotten", "return { 2 }")
		run(a, "keep.t = nil")
		skynet.send(a, "debug", "GC")
		eventually(function()
			return versions "forgotten" == 1
		end)
		skynet.kill(a)
	end)

	it("are deleted when their readers die", function()
		sharetable.loadstring("orphan", "return { 1 }")
		local a, b = reader(), reader()
		run(a, "keep.t = sharetable.query 'orphan'")
		run(b, "keep.t = sharetable.query 'orphan'")
		sharetable.loadstring("orphan", "return { 2 }")
		assert.equal(2, versions "orphan")
		skynet.send(a, "lua", "exit")
		skynet.kill(b)
		eventually(function()
			return versions "orphan" == 1
		end)
	end)

	it("outlive the service that loaded them", function()
		local a = reader()
		run(a, "sharetable.loadtable('legacy', { 'from a' })")
		skynet.kill(a)
		assert.same({ "from a" }, sharetable.query "legacy")
	end)

	it("return their memory after 1,000 updates", function()
		local source = "local t = {} for i = 1, 1000 do t[i] = 'text ' .. i + %d end return t"
		local mine
		local function round(i)
			sharetable.loadstring("thousand", source:format(i))
			mine = mine or sharetable.query "thousand"
			sharetable.update "thousand"
			assert.equal("text " .. i + 1, mine[1])
		end
		for i = 1, 100 do
			round(i)
		end
		collectgarbage()
		local before = memory.total()
		for i = 101, 1000 do
			round(i)
		end
		collectgarbage()
		assert.equal(1, versions "thousand")
		-- one version takes 60 KB
		assert.is_true(memory.total() - before < 8 * 1024 * 1024)
	end)
end)

describe("many readers", function()
	it("read and update at once while a writer loads", function()
		local n, readers = 8, {}
		local make = [[
			local t = { version = %d, items = {} }
			for i = 1, 200 do
				t.items["item" .. i] = { id = i, version = %d }
			end
			return t]]
		sharetable.loadstring("busy", make:format(0, 0))
		for i = 1, n do
			readers[i] = reader()
		end
		local left, main = n + 1, coroutine.running()
		local function done()
			left = left - 1
			if left == 0 then
				skynet.wakeup(main)
			end
		end
		local sums = {}
		for i, r in ipairs(readers) do
			skynet.fork(function()
				sums[i] = run(r, [[
					local t = sharetable.query "busy"
					local sum = 0
					for _ = 1, 40 do
						for k, v in pairs(t.items) do
							assert(t.items[k] == v and v.version == t.version and k == "item" .. v.id)
							sum = sum + v.id
						end
						sharetable.update "busy"
						skynet.yield()
					end
					return sum]])
				done()
			end)
		end
		skynet.fork(function()
			for v = 1, 60 do
				sharetable.loadstring("busy", make:format(v, v))
				skynet.yield()
			end
			done()
		end)
		skynet.wait(main)
		for i = 1, n do
			assert.equal(40 * 200 * 201 // 2, sums[i])
			run(readers[i], "sharetable.update 'busy'")
		end
		eventually(function()
			return versions "busy" == 1
		end)
		for i = 1, n do
			skynet.kill(readers[i])
		end
	end)
end)
