-- The standard library on the patched Lua, inside a service: as shared and as private code. Lua
-- modules that the system's packages bring in C load into it.

local codecache = require "skynet.codecache"

local path = "test/lib/stdlib_suite.lua"

for _, mode in ipairs { "ON", "OFF" } do
	describe("with the code cache " .. mode, function()
		codecache.mode(mode)
		local suite = assert(loadfile(path))()
		codecache.mode "ON"
		for _, case in ipairs(suite) do
			it(case[1], case[2])
		end
	end)
end

describe("the system's modules", function()
	it("cjson encodes and decodes", function()
		local cjson = require "cjson"
		local t = { 1, 2.5, { name = "x", flag = true } }
		assert.same(t, cjson.decode(cjson.encode(t)))
		assert.has_error(function()
			cjson.decode "{"
		end)
	end)

	it("lfs reads folders", function()
		local lfs = require "lfs"
		assert.equal("directory", lfs.attributes("test", "mode"))
		local found = false
		for name in lfs.dir "test" do
			found = found or name == "unit"
		end
		assert.is_true(found)
	end)

	it("lpeg matches", function()
		local lpeg = require "lpeg"
		local number = lpeg.C(lpeg.R "09" ^ 1) / tonumber
		local sum = lpeg.Cf(number * ("+" * number) ^ 0, function(a, b)
			return a + b
		end)
		assert.equal(42, sum:match "10+30+2")
	end)

	it("cjson and lpeg take shared tables", function()
		local core = require "skynet.sharetable.core"
		local m = core.matrix "return { list = { 1, 2, 3 }, name = 'shared' }"
		local t = core.clone(m:getptr())
		local cjson = require "cjson"
		assert.same({ list = { 1, 2, 3 }, name = "shared" }, cjson.decode(cjson.encode(t)))
	end)
end)
