-- How a service's script is found and run, and what configuration keys change about it.

local node = require "node"

local function run(options, text)
	local n = node.start(options)
	n:expect(text)
	return n
end

describe("the loader", function()
	it("leaves a service its arguments, names, paths, and none of its own globals", function()
		local n = run({ start = "environment one  two\t3", lua_cpath = "./luaclib/?.so;./x/?.so" },
			"environment is done")
		n:expect "args\t3\tone\ttwo\t3\n"
		n:expect "names\tenvironment\t./test/services/\n"
		n:expect "globals\tnil\tnil\tnil\tnil\n"
		n:expect "path\t./lualib/%?.lua;./lualib/%?/init.lua;./test/lib/%?.lua\n"
		n:expect "cpath\t./luaclib/%?.so;./x/%?.so\n"
		n:expect "preloaded\tnil\n"
		n:expect "require\ttrue\n"
		n:expect "resume\ttrue\n"
		n:expect "type of args\tstring\n"
		n:kill()
	end)

	it("finds the old names of modules through lualib/compat10", function()
		local n = run({ start = "environment", lua_path = "./lualib/?.lua;./lualib/compat10/?.lua" },
			"environment is done")
		n:expect "old names\t"
		assert.is_nil(n.text:find "module 'socket' not found")
		n:kill()
	end)

	it("gives a service with a folder of its own that folder's modules", function()
		local n = run({ start = "inner", luaservice = "./service/?.lua;./test/services/folder/?/main.lua" },
			"folder\tinner\t./test/services/folder/inner/\tpart of inner\t"
			.. "./test/services/folder/inner/%?.lua;./lualib/")
		n:kill()
	end)

	it("takes names that look like patterns", function()
		run({ start = "per%cent%1" }, "percent\tper%%cent%%1\n"):kill()
	end)

	it("reports every place it looked in, and a syntax error", function()
		local n = node.start { start = "nosuch", luaservice = "./service/?.lua;./a/?.lua;./b/?/main.lua" }
		assert.equal(1, n:exit_code())
		assert.truthy(n.text:find("lua loader error : ./lualib/loader.lua:%d+: "
			.. "cannot open ./service/nosuch.lua[^\n]*\ncannot open ./a/nosuch.lua[^\n]*\n"
			.. "cannot open ./b/nosuch/main.lua[^\n]*\nstack traceback:"), n.text)
		assert.truthy(n.text:find "%[:00000008%] KILL self")
	end)

	it("runs the preload file for every service, with all words, before the main chunk", function()
		local n = run({ start = "environment a b", preload = "./test/services/preload.lua" },
			"environment is done")
		n:expect "preloaded\tenvironment,a,b ./test/services/preload.lua environment nil nil\n"
		n:expect "globals\tnil\tnil\tnil\tnil\n"
		n:kill()
	end)

	it("fails a service whose preload file can't be loaded", function()
		local n = node.start { start = "environment", preload = "./no/preload.lua" }
		assert.equal(1, n:exit_code())
		assert.truthy(n.text:find "lua loader error : [^\n]*cannot open ./no/preload.lua")
	end)

	it("can be replaced by a loader that knows the host's globals", function()
		local n = run({ start = "ownloaded", lualoader = "./test/services/ownloader.lua",
			preload = "./test/services/preload.lua" },
			"own loader\ttrue\tOFF\townloaded\t./test/services/\n")
		n:kill()
	end)
end)

describe("snax", function()
	it("says which key of the configuration is missing", function()
		run({ start = "snaxuser" }, "none\tfalse\t[^\n]*please set snax in config file\n"):kill()
	end)

	it("finds files by the configured snax_loader", function()
		local n = run({ start = "snaxuser loader", snax = "./test/services/?.lua",
			snax_loader = "./test/services/snaxloader.lua" }, "alias\tx\talias\n")
		n:kill()
	end)

	it("reads interfaces in the configured environment", function()
		local n = run({ start = "snaxuser globals", snax = "./test/services/?.lua",
			snax_interface_g = "snaxglobals", lua_path = "./lualib/?.lua;./test/services/?.lua" },
			"globals\tnil\t")
		n:kill()
		n = run({ start = "snaxuser globals", snax = "./test/services/?.lua" },
			"attempt to index a nil value")
		n:kill()
	end)
end)
