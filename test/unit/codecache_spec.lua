-- skynet.codecache: modes, clear, errors, what a cached file costs.

local skynet = require "skynet"
local memory = require "skynet.memory"
local cache = require "skynet.codecache"
require "skynet.manager"

local function write(name, text)
	local f = assert(io.open(name, "w"))
	f:write(text)
	f:close()
end

describe("the code cache", function()
	local name
	before_each(function()
		name = os.tmpname()
		write(name, "return 'one', ...")
	end)
	after_each(function()
		cache.mode "ON"
		os.remove(name)
	end)

	it("is skynet.cache, and ON", function()
		assert.equal(cache, skynet.cache)
		assert.equal("ON", cache.mode())
		assert.equal(0, select("#", cache.mode "ON"))
		assert.error_matches(function()
			cache.mode "AUTO"
		end, "invalid option 'AUTO'")
	end)

	it("hides edits until it's cleared", function()
		assert.equal("one", loadfile(name)())
		write(name, "return 'two'")
		assert.equal("one", loadfile(name)())
		assert.equal("one", dofile(name))
		assert.equal("one", cache.loadfile(name)())
		local old = loadfile(name)
		cache.clear()
		assert.equal("two", loadfile(name)())
		collectgarbage()
		assert.equal("one", old())
	end)

	it("is left alone in mode OFF, and not filled in mode EXIST", function()
		cache.mode "EXIST"
		assert.equal("EXIST", cache.mode())
		assert.equal("one", loadfile(name)())
		write(name, "return 'two'")
		assert.equal("two", loadfile(name)())
		cache.mode "ON"
		assert.equal("two", loadfile(name)())
		write(name, "return 'three'")
		cache.mode "EXIST"
		assert.equal("two", loadfile(name)())
		cache.mode "OFF"
		assert.equal("three", loadfile(name)())
		cache.mode "ON"
		assert.equal("two", loadfile(name)())
	end)

	it("passes arguments, environments and names of chunks", function()
		assert.same({ "one", 5 }, { loadfile(name)(5) })
		write(name, "x = 5 return debug, x")
		cache.clear()
		local env = {}
		assert.is_nil((loadfile(name, "t", env)()))
		assert.equal(5, env.x)
		assert.is_nil(rawget(_G, "x"))
		assert.equal("@" .. name, debug.getinfo(loadfile(name), "S").source)
	end)

	it("doesn't keep errors", function()
		write(name, "return +")
		local f, err = loadfile(name)
		assert.is_nil(f)
		assert.truthy(err:find(":1: unexpected symbol near", 1, true))
		write(name, "return 'mended'")
		assert.equal("mended", loadfile(name)())
		f, err = loadfile "/no/such/file.lua"
		assert.is_nil(f)
		assert.truthy(err:find "cannot open /no/such/file.lua")
	end)

	it("charges a service for closures only", function()
		local lines = { "local M = {}" }
		for i = 1, 3000 do
			lines[#lines + 1] = ("function M.f%d() return { name = 'n%d', %d } end"):format(i, i, i)
		end
		write(name, table.concat(lines, "\n") .. "\nreturn M")
		collectgarbage()
		local before = collectgarbage "count"
		local f = loadfile(name)
		assert.is_true(collectgarbage "count" - before < 1)
		assert.same({ 7, name = "n7" }, f().f7())
	end)

	it("gives back what no service uses after it was cleared", function()
		local lines = {}
		for i = 1, 2000 do
			lines[i] = ("function F%d(a) return { name = 'n%d', a } end"):format(i, i)
		end
		local code = table.concat(lines, "\n") -- more than 500 KB when it's compiled
		local env = setmetatable({}, { __index = _G })
		local function round(i)
			write(name, code .. "\nreturn " .. i)
			cache.clear()
			assert.equal(i, loadfile(name, "t", env)())
			collectgarbage()
		end
		for i = 1, 5 do
			round(i)
		end
		local before = memory.total()
		for i = 6, 45 do
			round(i)
		end
		assert.equal("n7", env.F7().name)
		assert.is_true(memory.total() - before < 8 * 1024 * 1024)
	end)
end)
