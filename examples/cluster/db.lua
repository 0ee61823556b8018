--- Starts node "db": a simpledb under a name that other nodes can use, and the port.
local skynet = require "skynet"
local cluster = require "skynet.cluster"

skynet.start(function()
	cluster.register("simpledb", skynet.newservice "simpledb")
	-- "db" is looked up among the cluster's names; the demo lets the system choose a port
	local _, port = cluster.open(tonumber(os.getenv "DEMO_PORT") or "db")
	skynet.newservice("debug_console", 0)
	skynet.error(("db listens on port %s"):format(port or "as named"))
end)
