--- Starts a service that waits for a value, and sets it.
local skynet = require "skynet"
local datacenter = require "skynet.datacenter"
require "skynet.manager"

skynet.start(function()
	local waiter = skynet.newservice "waiter"
	skynet.send(waiter, "lua", "wait")
	datacenter.set("servers", "login", "port", 8001)
	datacenter.set("servers", "chat", "port", 8002)
	print("the previous port was", datacenter.set("servers", "login", "port", 9001))
	print("the login server's port is", datacenter.get("servers", "login", "port"))
	local names = {}
	for name in pairs(datacenter.get "servers") do -- a branch comes as a copy
		names[#names + 1] = name
	end
	table.sort(names)
	print("there are servers for", table.concat(names, " and "))
	datacenter.set("state", "open")
	print(skynet.call(waiter, "lua", "result"))
	skynet.abort()
end)
