--- Starts node "front" and shows, call by call, what a cluster does.
local skynet = require "skynet"
local cluster = require "skynet.cluster"

local function show(what, ...)
	local values = table.pack(...)
	for i = 1, values.n do
		values[i] = tostring(values[i])
	end
	print(("  %-52s %s"):format(what, table.concat(values, " ")))
end

local function calls()
	print "Calls to the other node:"
	show('cluster.call("db", "@simpledb", "set", "hp", 100)',
		cluster.call("db", "@simpledb", "set", "hp", 100))
	show('cluster.call("db", "@simpledb", "get", "hp")',
		cluster.call("db", "@simpledb", "get", "hp"))
	local proxy = cluster.proxy("db", "@simpledb")
	show('skynet.call(cluster.proxy("db", "@simpledb"), ...)',
		skynet.call(proxy, "lua", "get", "hp"))
	show('cluster.query("db", "simpledb")', skynet.address(cluster.query("db", "simpledb")))
	local blob = ("x"):rep(1 << 20)
	cluster.call("db", "@simpledb", "set", "blob", blob)
	show("a value of 1 MB there and back",
		cluster.call("db", "@simpledb", "get", "blob") == blob and "intact" or "BROKEN")
	local n, begin = 10000, skynet.hpc()
	for _ = 1, n do
		cluster.call("db", "@simpledb", "get", "hp")
	end
	show(n .. " calls, one after another",
		("%.0f per second"):format(n / ((skynet.hpc() - begin) / 1e9)))
end

local function both_ways()
	print "Calls from the other node, over a link of its own:"
	cluster.register("greeter", skynet.newservice "greeter")
	local _, port = cluster.open(0)
	show('db: cluster.call("front", "@greeter", "greet", "db")',
		cluster.call("db", "@simpledb", "visit", "front", "127.0.0.1:" .. port))
end

local function reload()
	print "The cluster changes while the nodes run:"
	local port = cluster.call("db", "@simpledb", "listen")
	cluster.reload { db = "127.0.0.1:" .. port }
	show(("cluster.reload { db = \"127.0.0.1:%d\" }"):format(port), "moved")
	show("  and what it knows is still there:", cluster.call("db", "@simpledb", "get", "hp"))
	cluster.reload { backup = false }
	show("cluster.reload { backup = false }, and a call there:",
		select(2, pcall(cluster.call, "backup", "@simpledb", "get", "hp")))
	show("a name that nobody registered:",
		select(2, pcall(cluster.call, "db", "@nobody", "get", "hp")))
end

skynet.start(function()
	skynet.newservice("debug_console", 0)
	calls()
	both_ways()
	reload()
	print "front is done"
	io.stdout:flush()
end)
