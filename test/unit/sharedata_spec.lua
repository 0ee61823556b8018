-- Shared documents: boxes, updates, life times; the core functions with hostile arguments.

local eventually = require "eventually"
local skynet = require "skynet"
local core = require "skynet.sharedata.core"
local corelib = require "skynet.sharedata.corelib"
local sharedata = require "skynet.sharedata"
local memory = require "skynet.memory"
require "skynet.manager"

local host = corelib.host

local function fails(text, f, ...)
	local ok, err = pcall(f, ...)
	assert.is_false(ok)
	assert.equal(text, tostring(err):sub(-#text))
end

local function box_of(t)
	local obj = host.new(t)
	local box = corelib.box(obj)
	host.delete(obj)
	return box
end

local function plain(box)
	local t = {}
	for k, v in pairs(box) do
		t[k] = type(v) == "table" and plain(v) or v
	end
	return t
end

local function remote()
	local s = skynet.newservice "remote"
	return s, function(text, ...)
		return skynet.call(s, "lua", text, ...)
	end
end

describe("a box", function()
	local value = { 10, 20, "x", { deep = true }, id = 7, name = "sword", price = 1.5, no = false,
		nul = "a\0b", empty = "", long = ("l"):rep(5000), e = { k = { z = 1 } },
		[-1] = "minus", [0] = "zero", [1 << 40] = "large", [math.mininteger] = "least",
		[math.maxinteger] = "most", big = math.maxinteger, least = math.mininteger, inf = 1 / 0 }

	it("reads as the table it was made from", function()
		local box = box_of(value)
		assert.same(value, plain(box))
		assert.equal(4, #box)
		assert.equal("integer", math.type(box.id))
		assert.equal("float", math.type(box.price))
		assert.equal("large", box[1 << 40])
		assert.equal(20, box[2.0])
		assert.is_nil(box.nothing)
		assert.is_nil(box[5])
		assert.is_nil(box[1.5])
		assert.is_nil(box[true])
		assert.is_nil(box[{}])
		assert.is_nil(box[nil])
		assert.equal("table", type(box.e))
		local list = {}
		for i, v in ipairs(box) do
			list[i] = type(v)
		end
		assert.same({ "number", "number", "string", "table" }, list)
	end)

	it("reads the same when it's hot", function()
		local box = box_of(value)
		for _ = 1, 300 do
			for k, v in pairs(value) do
				if type(v) ~= "table" then
					assert(box[k] == v and box.e.k.z == 1)
				end
			end
			assert(box.nothing == nil and box[5] == nil)
		end
		assert.equal("table", type(getmetatable(box).__index)) -- it is hot
		assert.same(value, plain(box))
		assert.equal(box.e, box.e)
		fails("Error newindex, the key []", function() box.id = 1 end)
	end)

	it("finds every key of large tables, and of none", function()
		local t = {}
		for i = 1, 3000 do
			t["key" .. i] = i
			t[i * 7919] = i
			t[-i] = i
		end
		local box = box_of(t)
		for k, v in pairs(t) do
			assert(box[k] == v)
		end
		assert.same(t, plain(box))
		assert.same({}, plain(box_of {}))
		assert.equal(0, #box_of {})
	end)

	it("keeps holes", function()
		local t = { 1, nil, 3, n = 3 }
		local box = box_of(t)
		assert.equal(#t, #box)
		assert.same(t, plain(box))
	end)

	it("can't be written, and says where", function()
		local box = box_of { e = { k = { z = 1 } }, list = { { a = 1 } } }
		fails("Error newindex, the key []", function() box.x = 1 end)
		fails("Error newindex, the key [.e.k]", function() box.e.k.z = 1 end)
		fails("Error newindex, the key [.list.1]", function() box.list[1].a = 1 end)
		fails("Error newindex, the key []", function() box.e = 1 end)
	end)

	it("keeps its sub-boxes, and is kept by them", function()
		local box = box_of { e = { k = { z = 1 } } }
		assert.equal(box.e, box.e)
		local k = box.e.k
		box = nil -- luacheck: ignore
		collectgarbage()
		collectgarbage()
		assert.equal(1, k.z)
	end)

	it("can be packed", function()
		local box = box_of { 1, 2, a = { b = "c" } }
		assert.same({ 1, 2, a = { b = "c" } }, (skynet.unpack(skynet.packstring(box))))
	end)

	it("walks with corelib.next, too", function()
		local t = {}
		local box = box_of { 1, 2, x = 3 }
		local k, v = corelib.next(box)
		while k do
			t[k] = v
			k, v = corelib.next(box, k)
		end
		assert.same({ 1, 2, x = 3 }, t)
		fails("the key y isn't there", corelib.next, box, "y")
	end)
end)

describe("corelib.host", function()
	it("refuses what can't be shared, and says where", function()
		fails("sharedata: in [.a.b]: Invalid key 1.5", host.new, { a = { b = { [1.5] = 1 } } })
		fails("Invalid key type table", host.new, { [{}] = 1 })
		fails("Invalid key type boolean", host.new, { [true] = 1 })
		fails("sharedata: in [.a.1.f]: Unsupport value type function", host.new,
			{ a = { { f = print } } })
		fails("in [.1]: Unsupport value type userdata", host.new, { io.stdout })
		local cycle = {}
		cycle.again = cycle
		assert.is_false((pcall(host.new, cycle)))
		local t = {}
		for _ = 1, 128 do
			t = { t }
		end
		assert.truthy(box_of(t)[1][1])
		assert.is_false((pcall(host.new, { t })))
	end)

	it("counts boxes and explicit references", function()
		local obj = host.new { a = 1 }
		assert.equal(0, host.getref(obj))
		local box = corelib.box(obj)
		assert.equal(1, host.getref(obj))
		assert.equal(2, host.incref(obj))
		assert.equal(1, host.decref(obj))
		assert.is_false((pcall(host.decref, obj))) -- what is left is the box's
		host.delete(obj)
		assert.equal(1, box.a)
		fails("Need a conf object", host.getref, obj)
		fails("Need a conf object", host.delete, obj)
		fails("Need a conf object", corelib.box, obj)
	end)

	it("frees an object with its last user", function()
		local obj = host.new { a = 1 }
		local box = corelib.box(obj) -- luacheck: ignore
		box = nil -- luacheck: ignore
		collectgarbage()
		collectgarbage()
		assert.equal(0, host.getref(obj))
		host.delete(obj)
	end)

	it("raises for every argument that isn't an object", function()
		local functions = { "delete", "markdirty", "getref", "incref", "decref", "box", "open",
			"index", "nextkey", "len", "hashlen", "isdirty", "copy", "size" }
		local forged = { skynet.pack "x" }
		for _, name in ipairs(functions) do
			for _, bad in ipairs { forged[1], 1, "x", {}, true, print, io.stdout } do
				assert.is_false((pcall(core[name], bad)), name)
			end
			assert.is_false((pcall(core[name])), name)
			assert.is_false((pcall(core[name], nil)), name)
		end
		skynet.trash(forged[1], forged[2])
		local box = box_of { a = {} }
		for _, name in ipairs { "update", "needupdate", "flush", "weaken", "object", "next" } do
			for _, bad in ipairs { 1, "x", {}, true, print, io.stdout } do
				assert.is_false((pcall(core[name], bad, bad)), name)
			end
		end
		local meta = getmetatable(box)
		for _, name in ipairs { "__index", "__newindex", "__len", "__pairs" } do
			assert.is_false((pcall(meta[name], {}, 1, 2)))
			assert.is_false((pcall(meta[name], 7, 1, 2)))
			assert.is_false((pcall(meta[name])))
			pcall(meta[name], box)
		end
		local _, inside = next(box)
		pcall(getmetatable(inside).__gc, 5)
		pcall(getmetatable(inside).__gc, io.stdout)
		-- what next() shows of a box may be broken by hand
		local key = next(box.a)
		rawset(box.a, key, io.stdout)
		assert.is_false((pcall(function() return box.a.x end)))
	end)

	it("reads objects without a box", function()
		local obj = host.new { 1, 2, a = { b = "c" }, z = false }
		assert.equal(2, core.len(obj))
		assert.equal(2, core.hashlen(obj))
		local a = core.index(obj, "a")
		assert.equal("userdata", type(a))
		assert.equal("c", core.index(a, "b"))
		assert.equal(2, core.nextkey(obj, 1))
		assert.is_nil((core.nextkey(a, "b")))
		assert.same({ 1, 2, a = { b = "c" }, z = false }, corelib.copy(obj))
		assert.equal("c", corelib.copy(obj, "a", "b"))
		assert.equal(0, select("#", corelib.copy(obj, "z")))
		assert.equal(0, select("#", corelib.copy(obj, "a", "b", "c")))
		assert.equal(0, host.getref(obj))
		fails("Need a conf object", host.getref, a)
		host.delete(obj)
		fails("Need a conf object", core.index, a, "b")
	end)
end)

describe("corelib.update", function()
	local function move(box, old, t)
		local new = host.new(t)
		host.markdirty(old)
		corelib.update(box, new)
		return new
	end

	it("moves the box and all that hang on it", function()
		local obj = host.new { v = 1, e = { k = { z = 1 } }, gone = { x = 1 }, flat = { 1 } }
		local box = corelib.box(obj)
		local e, k, gone, flat = box.e, box.e.k, box.gone, box.flat
		for _ = 1, 100 do
			assert(k.z == 1 and box.v == 1) -- hot
		end
		local new = move(box, obj, { v = 2, e = { k = { z = 2 } }, flat = 5 })
		assert.equal(0, host.getref(obj))
		assert.equal(1, host.getref(new))
		assert.equal(2, k.z)
		assert.equal(2, box.v)
		assert.equal(e, box.e)
		assert.equal(k, box.e.k)
		assert.equal(5, box.flat)
		fails("The key [.gone] doesn't exist after update", function() return gone.x end)
		fails("The key [.flat] doesn't exist after update", function() return #flat end)
		assert.is_nil(box.gone)
		corelib.flush(box)
		move(box, new, { gone = { x = 3 } })
		assert.equal(3, gone.x)
		fails("The key [.e.k] doesn't exist after update", function() return k.z end)
	end)

	it("demands a dirty object and a new one", function()
		local obj = host.new { 1 }
		local box = corelib.box(obj)
		local other = host.new { 2 }
		assert.is_false(core.needupdate(box))
		fails("Only dirty object can be update", corelib.update, box, other)
		host.markdirty(obj)
		assert.is_true(core.isdirty(obj))
		assert.is_true(core.needupdate(box))
		fails("You should update a new object", corelib.update, box, obj)
		corelib.update(box, other)
		assert.equal(2, box[1])
		assert.is_false(core.needupdate(box))
	end)

	it("lets a loop that it interrupts finish", function()
		local t = {}
		for i = 1, 100 do
			t["k" .. i] = i
			t[i] = { i }
		end
		local obj = host.new(t)
		local box = corelib.box(obj)
		local seen = {}
		for k, v in pairs(box) do
			if next(seen) == nil then
				for i = 1, 50 do
					t["k" .. i] = nil
					t[i] = { i + 1000 }
				end
				move(box, obj, t)
				host.delete(obj)
			end
			seen[k] = type(v) == "table" and v[1] or v
		end
		for i = 1, 100 do
			assert.equal(i <= 50 and i ~= 1 and i + 1000 or seen[i], seen[i])
			assert.equal(i > 50 and i or nil, seen["k" .. i])
		end
	end)
end)

describe("skynet.sharedata", function()
	it("takes tables, nothing, source text and files", function()
		sharedata.new("t", { a = 1 })
		assert.equal(1, sharedata.query("t").a)
		sharedata.new "nil"
		assert.same({}, plain(sharedata.query "nil"))
		sharedata.new("source", "local n = ... return { n = n, s = string.rep('x', n) }", 3)
		assert.same({ n = 3, s = "xxx" }, plain(sharedata.query "source"))
		sharedata.new("globals", "a = math.type(1) b = { ... }", 1, 2)
		assert.same({ a = "integer", b = { 1, 2 } }, plain(sharedata.query "globals"))
		local name = os.tmpname()
		local function write(text)
			local f = assert(io.open(name, "w"))
			f:write(text)
			f:close()
		end
		write "return { version = 1 }"
		sharedata.new("file", "@" .. name)
		assert.equal(1, sharedata.query("file").version)
		write "version = 2"
		sharedata.update("file", "@" .. name)
		eventually(function()
			return sharedata.query("file").version == 2
		end)
		os.remove(name)
	end)

	it("fails clearly", function()
		fails("call failed", sharedata.new, "t", {})
		fails("call failed", sharedata.new, "bad", { [1.5] = 1 })
		fails("call failed", sharedata.new, "bad", 5)
		fails("call failed", sharedata.new, "bad", "this isn't Lua")
		fails("call failed", sharedata.new, "bad", "error 'x'")
		fails("call failed", sharedata.new, "bad", "@/there/is/no/such/file")
		fails("call failed", sharedata.query, "bad")
		fails("call failed", sharedata.delete, "bad")
		fails("call failed", sharedata.deepcopy, "bad")
	end)

	it("gives the same box while it's in use", function()
		local box = sharedata.query "t"
		assert.equal(box, sharedata.query "t")
	end)

	it("copies", function()
		sharedata.new("deep", { a = { b = { 1, 2 } }, f = false, s = "x" })
		local t = sharedata.deepcopy "deep"
		t.a.b[1] = 100
		assert.same({ 1, 2 }, sharedata.deepcopy("deep", "a", "b"))
		assert.equal("x", sharedata.deepcopy("deep", "s"))
		assert.equal(0, select("#", sharedata.deepcopy("deep", "f")))
		assert.equal(0, select("#", sharedata.deepcopy("deep", "a", "none", "b")))
		sharedata.update("deep", { s = "y" })
		assert.equal("y", sharedata.deepcopy("deep", "s"))
	end)

	it("shows updates to every service, by path", function()
		sharedata.new("u", { v = 1, e = { k = { z = 1 } } })
		local box = sharedata.query "u"
		local k = box.e.k
		local s, run = remote()
		run [[ box = require "skynet.sharedata".query "u" ; z = box.e ]]
		sharedata.update("u", { v = 2, e = { k = { z = 2 } } })
		eventually(function()
			return box.v == 2 and run "return box.v + z.k.z" == 4
		end)
		assert.equal(2, k.z)
		sharedata.update("u", { v = 3 })
		eventually(function()
			return box.v == 3
		end)
		fails("The key [.e.k] doesn't exist after update", function() return k.z end)
		skynet.kill(s)
	end)

	it("keeps a deleted object readable by who holds it", function()
		sharedata.new("d", { v = 1 })
		local box = sharedata.query "d"
		sharedata.delete "d"
		fails("call failed", eventually, function()
			sharedata.query "d" -- until the notice has come
		end)
		assert.equal(1, box.v)
		sharedata.new("d", { v = 2 })
		assert.equal(2, sharedata.query("d").v)
		assert.equal(1, box.v)
	end)

	it("survives readers that die at any point", function()
		sharedata.new("dying", { v = 0 })
		for i = 1, 30 do
			local s, run = remote()
			skynet.send(s, "lua", [[
				local sharedata = require "skynet.sharedata"
				box = sharedata.query "dying"
				k = box.v
			]])
			sharedata.update("dying", { v = i })
			if i % 2 == 0 then
				run "return 1"
			end
			skynet.kill(s)
		end
		assert.equal(30, sharedata.deepcopy("dying", "v"))
	end)

	it("survives a writer that dies", function()
		local s = remote()
		skynet.send(s, "lua", [[
			local sharedata = require "skynet.sharedata"
			sharedata.new("written", { v = 1 })
			for i = 1, 1000 do
				sharedata.update("written", { v = i })
			end
		]])
		local box = eventually(function()
			local ok, box = pcall(sharedata.query, "written")
			return ok and box
		end)
		skynet.kill(s)
		local v = sharedata.deepcopy("written", "v")
		assert.truthy(v >= 1)
		eventually(function() -- it may have sent one more meanwhile
			sharedata.update("written", { v = "after" })
			skynet.sleep(1)
			return box.v == "after"
		end)
	end)

	it("returns the memory of old versions at once", function()
		local big = {}
		for i = 1, 400 do
			big[i] = { id = i, name = "item " .. i }
		end
		local readers = {}
		for i = 1, 4 do
			local _, run = remote()
			readers[i] = run
			sharedata.update("big", big)
			run [[ box = require "skynet.sharedata".query "big" ]]
		end
		local function settle()
			for _, run in ipairs(readers) do
				eventually(function()
					return run "return box.version" == big.version
				end)
				run "collectgarbage()"
			end
			skynet.send(skynet.uniqueservice "sharedatad", "debug", "GC")
			collectgarbage()
			return memory.total()
		end
		big.version = 0
		sharedata.update("big", big)
		local before = settle()
		for i = 1, 1000 do
			big.version = i
			sharedata.update("big", big)
		end
		local after = settle()
		eventually(function()
			local info = skynet.call(skynet.uniqueservice "sharedatad", "debug", "INFO")
			for name in pairs(info) do
				if name:find "userdata" then -- a superseded version
					return false
				end
			end
			return true
		end)
		-- 1,000 versions of 60 KB, of which at most some slack may be left
		assert.truthy(after - before < 10e6, ("%d bytes more"):format(after - before))
	end)

	it("lets many services read while versions change", function()
		sharedata.new("busy", { v = 1, list = { 1, 1, 1 }, sub = { v = 1 } })
		local left = 8
		local co = coroutine.running()
		for _ = 1, left do
			skynet.fork(function()
				local s, run = remote()
				assert(run [[
					local box = require "skynet.sharedata".query "busy"
					local last = 0
					repeat
						for _ = 1, 200 do
							local v = box.v
							assert(v >= last and box.list[3] == v and box.sub.v == v)
							for k, x in pairs(box.list) do assert(x == v) end
							last = v
						end
						skynet.sleep(0)
					until last == 200
					return true
				]])
				skynet.kill(s)
				left = left - 1
				if left == 0 then
					skynet.wakeup(co)
				end
			end)
		end
		for i = 2, 200 do
			sharedata.update("busy", { v = i, list = { i, i, i }, sub = { v = i } })
		end
		skynet.wait(co)
	end)

	it("flushes", function()
		sharedata.new("flush", { list = { { 1 }, { 2 }, { 3 } } })
		local box = sharedata.query "flush"
		local weak = setmetatable({ box.list[1], box.list[2] }, { __mode = "v" })
		local list, kept = box.list, box.list[2]
		sharedata.flush()
		assert.is_nil(weak[1])
		assert.equal(list, box.list)
		assert.equal(kept, box.list[2])
		assert.equal(3, box.list[3][1])
	end)
end)
