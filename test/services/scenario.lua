--- The two programs of the cluster's acceptance scenario: `scenario server PORT1 PORT2` and
--- `scenario client PORT2`. What they find is printed, a line each.

local skynet = require "skynet"
local cluster = require "skynet.cluster"
local snax = require "skynet.snax"

local role, port1, port2 = ...

local function show(...)
	print(...)
	io.stdout:flush()
end

-- The store the server registers.
local function serve_store()
	local store = { a = "foobar", b = "foobar2" }
	local command = {}

	function command.GET(key)
		skynet.retpack(store[key])
	end

	function command.SET(key, value)
		local before = store[key]
		store[key] = value
		skynet.retpack(before)
	end

	function command.PING(text)
		show("pushed", #text)
		skynet.retpack(text)
	end

	skynet.dispatch("lua", function(_, _, name, ...)
		command[name](...)
	end)
end

local function server()
	cluster.reload { db = "127.0.0.1:" .. port1, db2 = "127.0.0.1:" .. port2 }
	serve_store()
	cluster.register "sdb"
	cluster.unregister "sdb"
	cluster.register "sdb"
	show("open", cluster.open "db")
	show("open", cluster.open "db2")
	show(tostring(snax.uniqueservice("pingserver", true)))
	cluster.register("closed", snax.newservice("pingserver", false).handle)
	show "server is ready"
end

local function client()
	local proxy = cluster.proxy "db@sdb"
	local key, value = ("k"):rep(128 << 10), ("v"):rep(100 << 10)
	skynet.call(proxy, "lua", "SET", key, value)
	show("large", skynet.call(proxy, "lua", "GET", key) == value)
	show("ping", skynet.call(proxy, "lua", "PING", "proxy"))
	show(cluster.call("db", "@sdb", "GET", "a"))
	show(cluster.call("db2", "@sdb", "GET", "b"))
	cluster.send("db", "@sdb", "PING", ("p"):rep(120 << 10))
	show("absent", pcall(cluster.call, "db3", "@sdb", "GET", "a"))
	cluster.reload { __nowaiting = false }
	skynet.timeout(50, function()
		cluster.reload { db = false, db3 = "127.0.0.1:" .. port1 }
		show("down", pcall(cluster.call, "db", "@sdb", "GET", "a"))
	end)
	local ping = cluster.snax("db3", "pingserver")
	show("snax", ping.req.ping "hello")
	show("remote error", pcall(ping.req.boom))
	ping.post.keep "kept"
	show("post", ping.req.last())
	local direct = cluster.snax("db3", "pingserver", cluster.call("db3", ".service", "QUERY",
		"snaxd", "pingserver"))
	show("same", direct == ping)
	show("closed service", pcall(function()
		return cluster.snax("db3", "pingserver", "@closed").req.ping "x"
	end))
	show "client is done"
end

skynet.start(role == "server" and server or client)
