-- New VMs are copies of a model that has loaded the framework. Nobody may notice, but by the clock.

local node = require "node"

local STOCK_PATH = "./lualib/?.lua;./lualib/?/init.lua;./test/lib/?.lua"

local function folder()
	local path = node.file "model"
	assert(os.execute("mkdir -p " .. path))
	return path
end

local function write(path, text)
	local f = assert(io.open(path, "w"))
	f:write(text)
	f:close()
end

local function read(path)
	local f = assert(io.open(path))
	local text = f:read "a"
	f:close()
	return text
end

-- A node whose main service is this text; ends with it.
local function run(text, options)
	local dir = folder()
	write(dir .. "/probe.lua", "local preload = package.preload\n" .. text)
	local config = { start = "probe", luaservice = dir .. "/?.lua;./service/?.lua", lua_path = STOCK_PATH }
	for k, v in pairs(options or {}) do
		config[k] = v
	end
	return node.start(config), dir
end

local START = [[
skynet.start(function()
	print("result", %s)
	io.stdout:flush()
	require("skynet.manager").abort()
end)
]]

local function result(n)
	local text = n:expect "result\t([^\n]*)"
	n:kill()
	return text
end

-- The framework of this tree with a line more, in a folder of its own.
local function changed_framework()
	local dir = folder()
	assert(os.execute(("cp -r lualib/. %s/"):format(dir)))
	local file = dir .. "/skynet.lua"
	local text, n = read(file):gsub("return skynet%s*$", "skynet.changed = 1\nreturn skynet\n")
	assert(n == 1)
	write(file, text)
	return dir, file, text
end

describe("the model of services", function()
	it("is what a service starts from, each with its own", function()
		local n = run([[
			local copied = preload.skynet ~= nil
			local skynet = require "skynet"
			if ... then
				return skynet.start(function()
					skynet.dispatch("lua", function()
						skynet.retpack(skynet.mine == nil, preload.skynet == nil, package.loaded.skynet == skynet)
					end)
				end)
			end
			skynet.mine = true
		]] .. START:format [[copied, skynet.call(skynet.newservice("probe", "other"), "lua")]])
		assert.equal("true\ttrue\ttrue\ttrue", result(n))
	end)

	it("gives way to a framework that the service's own search path leads to", function()
		local own = folder()
		write(own .. "/skynet.lua", "return { own = ... }")
		local n = run(([[
			local path = package.path
			package.path = %q .. path
			local own = require "skynet"
			package.path, package.loaded.skynet = path, nil
			local skynet = require "skynet"
		]]):format(own .. "/?.lua;") .. START:format "own.own, own == skynet, skynet.self() > 0")
		assert.equal("skynet\tfalse\ttrue", result(n))
	end)

	it("is given when another search path leads to the same file", function()
		local n = run([[
			package.path = "./nowhere/?.lua;" .. package.path
			local skynet, extra = require "skynet"
		]] .. START:format "extra")
		assert.equal(":preload:", result(n))
	end)

	it("isn't given to who loads the framework anew", function()
		local n = run([[
			local first = require "skynet"
			package.loaded.skynet = nil
			local skynet, file = require "skynet"
		]] .. START:format "first == skynet, file")
		assert.equal("false\t./lualib/skynet.lua", result(n))
	end)

	it("refuses to be taken twice", function()
		local n = run([[
			local give = preload.skynet
			local unknown = pcall(give, "path")
			local skynet = give "skynet"
			local again, why = pcall(give, "skynet")
			package.loaded.skynet = skynet
		]] .. START:format "unknown, again, why")
		assert.equal("false\tfalse\tmodule 'skynet' isn't prepared, or was given before", result(n))
	end)

	it("is none of a framework that was changed", function()
		local dir = changed_framework()
		local n = run([[
			local copied = preload.skynet ~= nil
			local skynet = require "skynet"
		]] .. START:format "copied, skynet.changed", { lua_path = dir .. "/?.lua;" .. STOCK_PATH })
		assert.equal("false\t1", result(n))
	end)

	it("goes with the code cache", function()
		local dir, file, text = changed_framework()
		write(file, (text:gsub("skynet.changed = 1\n", "", 1)))
		write(dir .. "/changed.lua", text)
		local n = run(([[
			local copied = preload.skynet ~= nil
			local skynet = require "skynet"
			if ... then
				return skynet.start(function()
					skynet.dispatch("lua", function()
						skynet.retpack(copied, skynet.changed)
					end)
				end)
			end
			local function other()
				return skynet.call(skynet.newservice("probe", "other"), "lua")
			end
			local function both(change)
				if change then
					os.rename(%q, %q)
				end
				skynet.cache.clear()
				local is_copied, changed = other()
				return tostring(is_copied) .. tostring(changed)
			end
		]]):format(dir .. "/changed.lua", file)
			.. START:format "copied, both(false), both(true), both(false)",
			{ lua_path = dir .. "/?.lua;" .. STOCK_PATH })
		assert.equal("true\ttruenil\tfalse1\tfalse1", result(n))
	end)

	it("isn't used beside a preload script", function()
		local script = node.file("preload.lua", [[
			local stock = pcall
			function pcall(f, ...)
				if f then
					return stock(f, ...)
				end
				return "mine"
			end
		]])
		local n = run([[
			local copied = preload.skynet ~= nil
			local skynet = require "skynet"
		]] .. START:format "copied, skynet.pcall()", { preload = script })
		assert.equal("false\tmine", result(n))
	end)
end)
