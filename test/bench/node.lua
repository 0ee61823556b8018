--- A node: how long from its start to the first line of its main service, and to its end; its size.
local skynet = require "skynet"
local bench = require "bench"

if skynet.getenv "bench_role" == "child" then
	skynet.start(function()
		local f <close> = assert(io.open "/proc/self/status")
		io.stdout:write(("ready %d %s\n"):format(skynet.hpc(), f:read("a"):match "VmRSS:%s+(%d+)"))
		io.stdout:flush()
		require("skynet.manager").abort()
	end)
	return
end

local function config()
	local name = os.tmpname()
	local f <close> = assert(io.open(name, "w"))
	for _, key in ipairs { "thread", "lualoader", "luaservice", "lua_path", "lua_cpath", "cpath" } do
		f:write(("%s = %q\n"):format(key, skynet.getenv(key)))
	end
	f:write "harbor = 0\nbootstrap = \"snlua bootstrap\"\nstart = \"node\"\nbench_role = \"child\"\n"
	return name
end

bench.main(function()
	local name = config()
	local started, ended, rss = {}, {}, 0
	for i = 1, bench.scale(30) do
		local begin = skynet.hpc()
		local p = assert(io.popen("exec ./skynet " .. name .. " 2>&1"))
		local at
		for line in p:lines() do
			local when, kb = line:match "^ready (%d+) (%d+)"
			if when then
				at, rss = math.tointeger(when), tonumber(kb)
			end
		end
		assert(p:close() and at, "the node didn't start, or didn't end well")
		started[i] = (at - begin) / 1e6
		ended[i] = (skynet.hpc() - at) / 1e6
	end
	os.remove(name)
	table.sort(started)
	table.sort(ended)
	bench.report("node, exec to main service", started[(#started + 1) // 2], "ms")
	bench.report("node, abort to its end", ended[(#ended + 1) // 2], "ms")
	bench.report("node, resident memory", rss / 1024, "MB")
end)
