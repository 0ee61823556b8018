-- The replaced require in coroutines: modules that block, hooks, circles, searchers.

local eventually = require "eventually"
local skynet = require "skynet"
local hooks = require "skynet.require"

local dir = os.getenv "TEST_TMP"
local count = 0

-- A module file of its own name; returns the name.
local function module(text)
	count = count + 1
	local name = "specmodule" .. count
	local f = assert(io.open(("%s/%s.lua"):format(dir, name), "w"))
	f:write((text:gsub("SELF", name)))
	f:close()
	return name
end

local function fails(text, f, ...)
	local ok, err = pcall(f, ...)
	assert.is_false(ok)
	assert.truthy(tostring(err):find(text, 1, true), tostring(err))
end

describe("require", function()
	local path = package.path
	setup(function()
		package.path = dir .. "/?.lua;" .. path
	end)
	teardown(function()
		package.path = path
	end)

	it("is the service's own", function()
		assert.equal(hooks.require, require)
	end)

	it("runs a module that blocks, with its name and file, and keeps the result", function()
		local name = module [[
			require "skynet".sleep(2)
			return { ... }
		]]
		local m = require(name)
		assert.same({ name, ("%s/%s.lua"):format(dir, name) }, m)
		assert.equal(m, require(name))
		assert.equal(true, require(module ""))
		assert.equal(5, require(module "package.loaded[...] = 5"))
	end)

	it("runs a module once, for all who want it meanwhile", function()
		local name = module [[
			RUNS = (RUNS or 0) + 1
			require "skynet".sleep(5)
			return RUNS
		]]
		local got = {}
		for i = 1, 3 do
			skynet.fork(function()
				got[i] = require(name)
			end)
		end
		eventually(function()
			return got[1] and got[2] and got[3]
		end)
		assert.same({ 1, 1, 1 }, got)
	end)

	it("raises with a traceback where the module raises, and tells those who waited", function()
		local name = module [[
			require "skynet".sleep(2)
			error "the module raises"
		]]
		local first, second
		skynet.fork(function()
			first = select(2, pcall(require, name))
		end)
		skynet.fork(function()
			second = select(2, pcall(require, name))
		end)
		eventually(function()
			return first and second
		end)
		assert.truthy(first:find("the module raises\nstack traceback:", 1, true))
		assert.truthy(second:find(("require %s failed"):format(name), 1, true))
		fails("the module raises", require, name) -- tried again
	end)

	it("tells like the standard one what can't be found or compiled", function()
		fails("module 'there.is.none' not found:\n\tno field package.preload['there.is.none']",
			require, "there.is.none")
		local name = module "this is no Lua"
		fails(("error loading module '%s' from file"):format(name), require, name)
	end)

	it("finds circles, also between coroutines", function()
		fails("circular dependency", require, (module "return require 'SELF'"))
		local a = "specmodule" .. count + 2
		local b = module(([[
			local skynet = require "skynet"
			skynet.sleep(3)
			return require "%s"
		]]):format(a))
		assert.equal(a, module(([[
			local skynet = require "skynet"
			skynet.sleep(3)
			return require "%s"
		]]):format(b)))
		local ends = {}
		for _, name in ipairs { a, b } do
			skynet.fork(function()
				local _, err = pcall(require, name)
				ends[#ends + 1] = err
			end)
		end
		eventually(function()
			return #ends == 2
		end)
		assert.truthy((ends[1] .. ends[2]):find "circular dependency")
	end)

	it("lets others go on when the coroutine that loads is killed", function()
		local name = module [[
			require "skynet".wait "never"
		]]
		local err
		local co = skynet.fork(require, name)
		skynet.fork(function()
			err = select(2, pcall(require, name))
		end)
		skynet.sleep(1)
		assert.equal(co, skynet.killthread(co))
		eventually(function()
			return err
		end)
		assert.truthy(err:find(("require %s failed"):format(name), 1, true))
	end)

	it("asks package.preload and other searchers, and lets what they find block", function()
		local name = module "return 'file'"
		package.preload[name] = function(...)
			skynet.sleep(1)
			return table.pack(...)
		end
		assert.same({ name, ":preload:", n = 2 }, require(name))
		local function searcher(what)
			if what == "spec.virtual" then
				return function(...)
					skynet.sleep(1)
					return table.concat({ ... }, " ")
				end, "from nowhere"
			end
		end
		table.insert(package.searchers, searcher)
		assert.equal("spec.virtual from nowhere", require "spec.virtual")
		table.remove(package.searchers)
	end)

	it("loads C modules", function()
		package.loaded.testkit = nil
		assert.is_function(require("testkit").now)
	end)
end)

describe("skynet.init", function()
	local path = package.path
	setup(function()
		package.path = dir .. "/?.lua;" .. path
	end)
	teardown(function()
		package.path = path
	end)

	it("runs right after the module, before require returns, and may block", function()
		local name = module [[
			local skynet = require "skynet"
			local m = { "main" }
			skynet.init(function()
				skynet.sleep(2)
				m[#m + 1] = "hook 1"
				m.loaded = package.loaded.SELF
			end)
			skynet.init(function()
				m[#m + 1] = "hook 2"
			end)
			m[#m + 1] = "end"
			return m
		]]
		assert.same({ "main", "end", "hook 1", "hook 2" }, require(name))
	end)

	it("belongs to the module that calls it", function()
		local inner = module [[
			local skynet = require "skynet"
			ORDER = {}
			skynet.init(function() ORDER[#ORDER + 1] = "inner" end)
		]]
		require(module(([[
			local skynet = require "skynet"
			skynet.init(function() ORDER[#ORDER + 1] = "outer" end)
			require "%s"
			ORDER[#ORDER + 1] = "after"
		]]):format(inner)))
		assert.same({ "inner", "after", "outer" }, ORDER) -- luacheck: ignore
	end)

	it("fails a module whose hook raises", function()
		local name = module [[
			require "skynet".init(function() error "the hook raises" end)
			return 1
		]]
		fails("the hook raises", require, name)
		assert.is_nil(package.loaded[name])
	end)

	it("raises anywhere else", function()
		fails("bad argument #1 to 'insert' (table expected, got nil)", skynet.init, function() end)
		fails("assertion failed!", skynet.init, "x")
	end)
end)

describe("lualib/compat10", function()
	it("has the modules under their old names", function()
		local names = {}
		for _, name in ipairs { "cluster", "crypt", "datacenter", "dns", "memory", "mqueue",
			"multicast", "netpack", "profile", "sharedata", "sharemap", "snax", "socket",
			"socketchannel", "socketdriver", "stm" } do
			names[name] = "skynet." .. name
		end
		for _, name in ipairs { "mongo", "mysql", "redis" } do
			names[name] = "skynet.db." .. name
		end
		for name, new in pairs(names) do
			local loaded, mark = package.loaded[new], {}
			package.loaded[new] = mark
			local main = assert(loadfile(("./lualib/compat10/%s.lua"):format(name)))
			assert.equal(mark, main(name))
			package.loaded[new] = loaded
		end
	end)
end)
