--- Starts a debug console and services to look at, and prints their addresses.

local skynet = require "skynet"
local cluster = require "skynet.cluster"
require "skynet.manager"

local start = ...

skynet.start(function()
	skynet.newservice("debug_console", 0)
	local echo = skynet.newservice "echo"
	cluster.register("echo", echo)
	print("address echo", skynet.address(echo))
	print("address self", skynet.address(skynet.self()))
	skynet.name(".echo", echo)
	skynet.info_func(function(...)
		return { arguments = table.concat({ ... }, ","), nested = { b = 2, a = 1 } }
	end)
	if start then
		skynet.call(echo, "lua", "echo", start)
	end
	skynet.dispatch("lua", function(_, _, cmd, ...)
		if cmd == "ask" then -- what a service says that this one asks
			skynet.retpack(skynet.call(...))
		elseif cmd == "cluster" then
			skynet.retpack(cluster.call(...))
		elseif cmd == "reload" then
			cluster.reload { [...] = select(2, ...) }
			skynet.retpack(true)
		elseif cmd == "open" then
			skynet.retpack(select(2, cluster.open(0)))
		else
			local sum = 0
			for i = 1, 3 do
				sum = sum + i
			end
			skynet.retpack(cmd, sum)
		end
	end)
	print "ready"
	io.stdout:flush()
end)
