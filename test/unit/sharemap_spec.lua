-- sharemap: a sproto structure, written here and read there.

local skynet = require "skynet"
local sharemap = require "skynet.sharemap"
require "skynet.manager"

local function fields(map)
	local t = {}
	for k, v in pairs(map) do
		t[k] = v
	end
	return t
end

describe("skynet.sharemap", function()
	setup(function()
		local name = os.tmpname()
		local f = assert(io.open(name, "w"))
		f:write ".item { id 0 : integer name 1 : string }\n"
		f:write ".map { x 0 : integer s 1 : string list 2 : *item }\n"
		f:close()
		sharemap.register(name)
		os.remove(name)
	end)

	it("shows changes after commit and update", function()
		local tbl = { x = 1, s = "one", list = { { id = 1, name = "a" } } }
		local w = sharemap.writer("map", tbl)
		local r = sharemap.reader("map", w:copy())
		assert.same(tbl, fields(r))
		assert.same(tbl, fields(w))
		w.x = 2
		assert.equal(2, tbl.x)
		assert.equal(2, w.x)
		assert.same({ false, n = 1 }, table.pack(r:update()))
		assert.equal(1, r.x)
		w:commit()
		assert.equal(1, r.x)
		local changed, data = r:update()
		assert.is_true(changed)
		assert.equal(2, data.x)
		assert.equal(2, r.x)
		assert.is_false((r:update()))
	end)

	it("has read-only readers", function()
		local w = sharemap.writer "map"
		local r = sharemap.reader("map", w:copy())
		assert.is_false((pcall(function() r.x = 1 end)))
		assert.is_nil(r.x)
		assert.same({}, fields(r))
	end)

	it("refuses what doesn't fit", function()
		assert.is_false((pcall(sharemap.writer, "no such type")))
		local w = sharemap.writer("map", { x = 1 })
		w.x = "text"
		assert.is_false((pcall(w.commit, w)))
		local copy = w:copy()
		local r = sharemap.reader("map", copy)
		assert.equal(1, r.x)
		assert.is_false((pcall(sharemap.reader, "map", copy)))
		assert.is_false((pcall(sharemap.register, "/no/such/file")))
	end)

	it("goes to other services, and ends with the writer", function()
		local w = sharemap.writer("map", { x = 1 })
		local s = skynet.newservice "remote"
		skynet.call(s, "lua", [[
			r = require "skynet.sharemap".reader("map", ...)
		]], w:copy())
		assert.equal(1, skynet.call(s, "lua", "return r.x"))
		w.x = 5
		w:commit()
		assert.equal(5, skynet.call(s, "lua", "r:update() return r.x"))
		w = nil -- luacheck: ignore
		collectgarbage()
		collectgarbage()
		assert.equal(false, skynet.call(s, "lua", "return (r:update())"))
		assert.equal(5, skynet.call(s, "lua", "return r.x"))
		skynet.kill(s)
	end)
end)
