-- snax: interface files, objects, the service's life, hot fixes, the wire.

local eventually = require "eventually"
local skynet = require "skynet"
local snax = require "skynet.snax"
local interface = require "snax.interface"
require "skynet.manager"

local function fails(text, f, ...)
	local ok, err = pcall(f, ...)
	assert.is_false(ok)
	assert.truthy(tostring(err):find(text, 1, true), tostring(err))
end

local function listed(text)
	for address, what in pairs(skynet.call(".launcher", "lua", "LIST")) do
		if what:find(text, 1, true) then
			return address
		end
	end
end

describe("snax.interface", function()
	it("numbers system functions 1 to 4, and methods in order of definition", function()
		local env = { require = function() end, type = type, print = print }
		local list, pattern = interface("snaxcounter", env)
		assert.equal("./test/services/?.lua", pattern)
		local found = {}
		for i, entry in ipairs(list) do
			assert.equal(i, entry[1])
			found[i] = entry[2] .. "." .. entry[3]
		end
		assert.same({ "system.init", "system.exit", "system.hotfix", "system.profile", "accept.add",
			"accept.boom", "response.add", "response.get" }, { table.unpack(found, 1, 8) })
		assert.equal("function", type(list[1][4]))
		assert.is_nil(list[3][4])
		assert.equal("function", type(list[5][4]))
	end)

	it("leaves the file's globals, and nothing else, in the environment", function()
		local meta = {}
		local env = setmetatable({ require = function() end, init = "mine" }, meta)
		interface("snaxcounter", env)
		assert.equal("set", env.GLOBAL_OF_COUNTER)
		assert.equal("mine", env.init)
		assert.is_nil(rawget(env, "accept"))
		assert.is_nil(rawget(env, "exit"))
		assert.equal(meta, getmetatable(env))
	end)

	it("names what a file defines wrongly", function()
		local function bad(how)
			return { SNAX_BAD = how, error = error }
		end
		fails("accept method only support string", interface, "snaxbad", bad "name")
		fails("response.x must be function", interface, "snaxbad", bad "value")
		fails("accept.x duplicate definition", interface, "snaxbad", bad "twice")
		fails("init must be a function", interface, "snaxbad", bad "system")
		fails("the file raises", interface, "snaxbad", bad "run")
		local env = bad "system"
		pcall(interface, "snaxbad", env)
		assert.is_nil(getmetatable(env))
		assert.is_nil(env.accept)
	end)

	it("says which files it tried", function()
		fails("cannot open ./test/services/no%such.lua", interface, "no%such", {})
	end)

	it("takes another loader", function()
		local env = {}
		local list, pattern = interface("any", env, function(path, name, e)
			assert.equal("./test/services/?.lua", path)
			assert.equal("any", name)
			return load("function response.one() return 1 end", "=x", "t", e), "over/?.lua"
		end)
		assert.equal("over/?.lua", pattern)
		assert.same({ 5, "response", "one", list[5][4] }, list[5])
	end)
end)

describe("a snax object", function()
	local obj
	setup(function()
		obj = snax.newservice("snaxcounter", 10)
	end)
	teardown(function()
		snax.kill(obj)
	end)

	it("posts and requests", function()
		assert.equal(0, select("#", obj.post.add(1)))
		assert.equal(13, obj.req.add(2))
		assert.same({ 13, nil, false, "x", { 1 }, n = 5 },
			table.pack(obj.req.get(nil, false, "x", { 1 })))
	end)

	it("has a handle, a type and a text", function()
		assert.equal("number", type(obj.handle))
		assert.equal("snaxcounter", obj.type)
		assert.equal(("[snaxcounter:%x]"):format(obj.handle), tostring(obj))
		assert.are_not.equal(obj.req.add, obj.req.add)
	end)

	it("raises at access to an unknown method", function()
		fails("post snaxcounter:nosuch no exist", function()
			return obj.post.nosuch
		end)
		fails("request snaxcounter:release no exist", function()
			return obj.req.release
		end)
	end)

	it("fails with the handler, and survives it", function()
		fails("call failed", obj.req.boom)
		obj.post.boom()
		assert.equal("number", type((obj.req.get())))
	end)

	it("is the same for the same address", function()
		assert.equal(obj, snax.bind(obj.handle, "snaxcounter"))
		fails("assertion failed!", snax.bind, obj.handle, "snaxother")
	end)

	it("knows its service's names, folder and environment", function()
		local name, path, helper, env, text = obj.req.where()
		assert.equal("snaxcounter", name)
		assert.equal("./test/services/snaxcounter/", path)
		assert.equal("helper", helper)
		assert.is_true(env)
		assert.equal(tostring(obj), text)
	end)

	it("speaks numbers on the wire", function()
		local list = snax.interface "snaxcounter"
		assert.same({ init = 1, exit = 2, hotfix = 3, profile = 4 }, list.system)
		assert.same({ add = 5, boom = 6, release = 11 }, list.accept)
		assert.equal(7, list.response.add)
		assert.equal(8, list.response.get)
		local n = skynet.call(obj.handle, "snax", 8)
		assert.equal(n + 1, skynet.call(obj.handle, "snax", 7, 1))
		fails("call failed", skynet.call, obj.handle, "snax", 99)
		fails("call failed", skynet.call, obj.handle, "snax", {})
		fails("call failed", skynet.call, obj.handle, "lua", 8)
	end)

	it("profiles its methods, also through INFO", function()
		obj.post.add(1)
		obj.req.add(1)
		obj.req.spin()
		local info = snax.profile_info(obj)
		assert.is_true(info.add.count >= 2)
		assert.equal(1, info.spin.count)
		assert.is_true(info.spin.time > 0)
		assert.is_true(skynet.call(obj.handle, "debug", "INFO").add.count >= 2)
	end)

	it("serves the cluster's messages once enabled", function()
		obj.req.enable()
		assert.equal("number", type((skynet.call(obj.handle, "lua", 8))))
	end)
end)

describe("a snax service", function()
	it("can't start without a file", function()
		fails("cannot open ./test/services/nosuchsnax.lua", snax.newservice, "nosuchsnax")
		fails("call failed", skynet.newservice, "snaxd", "nosuchsnax")
	end)

	it("is gone when its init raises", function()
		fails("call failed", snax.newservice, "snaxcounter", "fail")
		eventually(function()
			return not listed "snaxd snaxcounter"
		end)
		fails("call failed", snax.newservice, "snaxcounter", "exit")
		fails("call failed", snax.uniqueservice, "snaxcounter", "fail")
	end)

	it("serves nothing before its init returned, and inits once", function()
		local handle = skynet.newservice("snaxd", "snaxcounter")
		fails("call failed", skynet.call, handle, "snax", 8) -- Init first
		fails("call failed", skynet.call, handle, "snax", 2) -- Never init
		skynet.call(handle, "snax", 1, 5)
		fails("call failed", skynet.call, handle, "snax", 1, 6) -- Already init
		local obj = snax.bind(handle, "snaxcounter")
		assert.equal(5, obj.req.get())
		snax.kill(obj)
	end)

	it("runs its exit function when it's killed, then ends", function()
		local obj = snax.newservice "snaxcounter"
		local heard
		skynet.dispatch("lua", function(_, _, what, how)
			heard = { what, how }
		end)
		snax.kill(obj, "how", skynet.self())
		eventually(function()
			return heard
		end)
		assert.same({ "exit ran", "how" }, heard)
		eventually(function()
			return not pcall(obj.req.get)
		end)
	end)

	it("ends also when its exit function raises", function()
		local obj = snax.newservice "snaxcounter"
		fails("call failed", snax.kill, obj, "fail")
		eventually(function()
			return not pcall(obj.req.get)
		end)
	end)

	it("answers all who kill it at once, and runs exit once", function()
		local obj = snax.newservice "snaxcounter"
		local ran, killed = 0, 0
		skynet.dispatch("lua", function()
			ran = ran + 1
		end)
		for _ = 1, 3 do
			skynet.fork(function()
				snax.kill(obj, "slow", skynet.self())
				killed = killed + 1
			end)
		end
		eventually(function()
			return killed == 3
		end)
		assert.equal(1, ran)
	end)

	it("can end itself", function()
		local obj = snax.newservice "snaxcounter"
		fails("call failed", obj.req.leave)
		assert.is_nil(listed "snaxd snaxcounter")
	end)
end)

describe("unique snax services", function()
	it("are one per node, or one per network", function()
		local first
		skynet.fork(function()
			first = snax.queryservice "snaxunique"
		end)
		local a = snax.uniqueservice("snaxunique", { start = 3 })
		assert.equal(a, snax.uniqueservice("snaxunique", { start = 9 }))
		assert.equal(3, a.req.get())
		eventually(function()
			return first
		end)
		assert.equal(a, first)
		local g = snax.globalservice("snaxunique", { start = 4 })
		assert.are_not.equal(a, g)
		assert.equal(g, snax.queryglobal "snaxunique")
		local list = skynet.call(".service", "lua", "LIST")
		assert.equal(skynet.address(a.handle), list["snaxd.snaxunique"])
		assert.equal(skynet.address(g.handle), list["@snaxd.snaxunique"])
	end)
end)

describe("snax.hotfix", function()
	local obj
	before_each(function()
		obj = snax.newservice("snaxcounter", 100)
	end)
	after_each(function()
		snax.kill(obj)
	end)

	it("replaces methods and keeps the state", function()
		snax.hotfix(obj, [[
			local n
			local step = 10
			function response.add(by)
				n = n + by * step
				return n
			end
		]])
		assert.equal(120, obj.req.add(2))
		obj.post.add(1) -- the old accept, the same n
		assert.equal(121, obj.req.get())
	end)

	it("joins what new helper functions use, and old helpers", function()
		snax.hotfix(obj, [[
			local n, add
			local function twice()
				return n * 2
			end
			function response.get()
				add(1)
				return twice()
			end
		]])
		assert.equal(202, obj.req.get())
	end)

	it("works under requests that are being served", function()
		local a, b
		skynet.fork(function()
			a, b = obj.req.hold()
		end)
		eventually(function()
			return next(skynet.call(obj.handle, "debug", "TASK"))
		end)
		snax.hotfix(obj, "local n function accept.add(by) n = n - by end")
		obj.post.add(30)
		obj.post.release()
		eventually(function()
			return a
		end)
		assert.same({ "held", 70 }, { a, b })
	end)

	it("returns what the patch's hotfix function returns", function()
		assert.same({ 100, "x", nil, 3, n = 4 }, table.pack(snax.hotfix(obj, [[
			local n
			function hotfix(...)
				local before = n
				n = 7
				return before, ...
			end
		]], "x", nil, 3)))
		assert.equal(7, obj.req.get())
		assert.equal(0, select("#", snax.hotfix(obj, "")))
	end)

	it("keeps patches apart", function()
		snax.hotfix(obj, "local n local k = 1 function response.get() k = k + 1 return n, k end")
		assert.same({ 100, 2 }, { obj.req.get() })
		snax.hotfix(obj, "local n, k function accept.boom() k, n = 40, 5 end")
		obj.post.boom()
		assert.same({ 5, 41 }, { obj.req.get() })
	end)

	it("runs in a copy of the globals, and its functions in the service's", function()
		snax.hotfix(obj, [[
			SPEC_LEAK = true
			function response.get()
				SPEC_SEEN = true
				return SPEC_LEAK, _G.SPEC_SEEN, _ENV == _G
			end
		]])
		assert.same({ nil, true, true, n = 3 }, table.pack(obj.req.get()))
	end)

	it("can give a service the exit function it lacks", function()
		local u = snax.newservice("snaxunique", {})
		snax.hotfix(u, [[
			local skynet = require "skynet"
			function exit(whom)
				skynet.send(whom, "lua", "patched exit")
			end
		]])
		local heard
		skynet.dispatch("lua", function(_, _, what)
			heard = what
		end)
		snax.kill(u, skynet.self())
		eventually(function()
			return heard
		end)
		assert.equal("patched exit", heard)
	end)

	it("raises what is wrong, and changes nothing then", function()
		fails("Patch mismatch response.nosuch", snax.hotfix, obj, [[
			function response.get() return "new" end
			function response.nosuch() end
		]])
		fails("attempt to call a nil value", snax.hotfix, obj, "this is no Lua")
		fails("syntax error near 'is'", snax.hotfix, obj, "this is no Lua")
		fails("oops", snax.hotfix, obj, "function hotfix() error 'oops' end")
		fails("init must be a function", snax.hotfix, obj, "init = 1")
		assert.equal(100, obj.req.get())
	end)

	it("refuses to guess between two locals of one name", function()
		local u = snax.newservice("snaxunique", {})
		fails("ambiguity local value twin", snax.hotfix, u, [[
			local twin
			function response.get() return twin end
		]])
		-- one that the patch doesn't use, or defines itself, is no obstacle
		snax.hotfix(u, "local twin = 5 function response.get() return twin end")
		assert.equal(5, u.req.get())
		snax.kill(u)
	end)
end)
