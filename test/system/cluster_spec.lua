-- Cluster mode between real nodes: addressing, reloads, failures, restarts.

local kit = require "testkit"
local node = require "node"

local function start(options)
	options = options or {}
	options.start, options.cluster_heartbeat = "clusternode", 1
	local n = node.start(options)
	n.port = tonumber((n:expect "port (%d+)"))
	n.tag = 0
	return n
end

local function order(n, ...)
	kit.write(n.input, table.concat({ ... }, " ") .. "\n", 10)
end

-- Make a call on node n; returns a function that waits for its result text.
local function call(n, ...)
	n.tag = n.tag + 1
	local tag = "t" .. n.tag
	order(n, "call", tag, ...)
	return function(limit)
		return (n:expect("result " .. tag .. " ([^\n]*)", limit))
	end
end

local function reload(n, name, address)
	n.text = ""
	order(n, "reload", name, address)
	n:expect("reloaded " .. name)
end

describe("cluster", function()
	local a, b

	setup(function()
		a, b = start(), start()
		reload(b, "a", "127.0.0.1:" .. a.port)
	end)

	teardown(function()
		a:kill()
		b:kill()
	end)

	it("calls by @name, handle, .name and :hex", function()
		assert.equal("true one two", call(b, "a", "@echo", "echo", "one", "two")())
		order(b, "query", "a", "echo")
		local handle = b:expect "query true (%d+)"
		assert.equal("true x", call(b, "a", handle, "echo", "x")())
		assert.equal("true y", call(b, "a", (":%08x"):format(handle), "echo", "y")())
		assert.truthy(call(b, "a", ".launcher", "LIST")():find "^true table")
	end)

	it("fails with `call failed`, and logs the peer's text", function()
		assert.truthy(call(b, "a", "@echo", "boom", "crash")():find "call failed$")
		assert.truthy(call(b, "a", "@nosuch", "echo")():find "call failed$")
		b:expect "Invalid name"
		assert.truthy(call(b, "a", "forgotten", "echo")():find "call failed$")
		assert.truthy(call(b, "a", 0x7777, "echo")():find "call failed$")
		b:expect "call to invalid address"
	end)

	it("carries messages of any size", function()
		for _, size in ipairs { 0, 32750, 32760, 32768, 65536, 100000, 5000000 } do
			b.text = ""
			order(b, "big", "a", tostring(size))
			assert.equal("true", (b:expect "big (%a+)"))
		end
	end)

	it("matches many concurrent calls", function()
		order(b, "many", "a", "5000")
		assert.equal("5000", (b:expect "many (%d+)"))
	end)

	it("serves what waits at the new address when dialling the old one fails", function()
		local silent, port = kit.listen()
		local c = start()
		reload(c, "moves", "127.0.0.1:" .. port)
		reload(c, "stays", "127.0.0.1:" .. a.port)
		local lost = call(c, "moves", "@echo", "echo", 0)
		local link = assert(kit.accept(silent, 30))
		assert(kit.read(link, 30)) -- the link stood
		kit.close(link)
		assert.truthy(lost():find "call failed$")
		local held = {}
		for i = 1, 17 do -- a full backlog: the next connection hangs
			held[i] = assert(kit.connect(port))
		end
		local result = call(c, "moves", "@echo", "echo", 1)
		order(c, "reload", "moves", "127.0.0.1:" .. a.port)
		assert.equal("true 2", call(c, "stays", "@echo", "echo", 2)())
		kit.close(silent) -- refuses from now on
		assert.equal("true 1", result())
		c:expect "reloaded moves"
		for _, fd in ipairs(held) do
			kit.close(fd)
		end
		c:kill()
	end)

	it("calls a node at its new address right after reload", function()
		local c = start()
		order(b, "hop", "hopper", 300, "127.0.0.1:" .. a.port, "127.0.0.1:" .. c.port)
		assert.equal("300", (b:expect "hop (%d+)"))
		c:kill()
	end)

	it("proxies a remote service", function()
		order(b, "proxy", "a@echo", "echo", "through")
		assert.equal("through", (b:expect "\nproxy (%S+)"))
	end)

	it("works in both directions", function()
		reload(a, "b", "127.0.0.1:" .. b.port)
		assert.equal("true back", call(a, "b", "@echo", "echo", "back")())
	end)

	it("holds calls to an unknown node until it's named", function()
		local result = call(b, "later", "@echo", "echo", "held")
		b:expect "Waiting for cluster node %[later%]"
		reload(b, "later", "127.0.0.1:" .. a.port)
		assert.equal("true held", result())
	end)

	it("fails calls to unknown nodes with __nowaiting", function()
		reload(b, "__nowaiting", "true")
		assert.truthy(call(b, "unknown", "@echo", "echo")():find "dest address type %(nil%)")
		reload(b, "__nowaiting", "false")
	end)

	it("fails pending calls at once when a node is taken down, and comes back", function()
		reload(b, "c", "127.0.0.1:" .. a.port)
		assert.equal("true 1", call(b, "c", "@echo", "echo", 1)())
		local pending = call(b, "c", "@echo", "hang")
		kit.sleep(0.2)
		order(b, "reload", "c", "false")
		assert.truthy(pending(10):find "call failed$")
		assert.truthy(call(b, "c", "@echo", "echo")():find "call failed$")
		reload(b, "c", "127.0.0.1:" .. a.port)
		assert.equal("true 2", call(b, "c", "@echo", "echo", 2)())
	end)

	it("fails pending calls when the peer is killed, and serves it when it's back", function()
		local c = start()
		reload(b, "d", "127.0.0.1:" .. c.port)
		assert.equal("true 1", call(b, "d", "@echo", "echo", 1)())
		local pending = call(b, "d", "@echo", "hang")
		kit.sleep(0.2)
		c:kill()
		assert.truthy(pending(10):find "call failed$")
		assert.truthy(call(b, "d", "@echo", "echo")(10):find "call failed$")
		c = start()
		reload(b, "d", "127.0.0.1:" .. c.port)
		assert.equal("true 2", call(b, "d", "@echo", "echo", 2)())
		c:kill()
	end)

	it("gives up a frozen peer within the heartbeat's bound", function()
		local c = start()
		reload(b, "frozen", "127.0.0.1:" .. c.port)
		assert.equal("true 1", call(b, "frozen", "@echo", "echo", 1)())
		c:freeze()
		local result = call(b, "frozen", "@echo", "echo", 2)
		assert.truthy(result(20):find "call failed$")
		c:kill()
	end)

	it("bounds what waits for a node that doesn't answer, when asked to", function()
		local c = start()
		local d = start { cluster_max_pending = 3 }
		reload(d, "c", "127.0.0.1:" .. c.port)
		assert.equal("true 1", call(d, "c", "@echo", "echo", 1)())
		local hanging = {}
		for i = 1, 3 do
			hanging[i] = call(d, "c", "@echo", "sleep", 100, i)
		end
		assert.truthy(call(d, "c", "@echo", "echo", 2)():find "call failed$")
		d:expect "3 requests wait for this node already %(cluster_max_pending%)"
		for i = 1, 3 do
			assert.equal("true " .. i, hanging[i]())
		end
		assert.equal("true 3", call(d, "c", "@echo", "echo", 3)())
		c:kill()
		d:kill()
	end)

	it("says so when it can't listen on a name", function()
		local c = start()
		c.text = ""
		order(c, "reload", "x", "256.0.0.1:bad")
		c:expect "reloaded x"
		local result = call(c, "x", "@echo", "echo")
		assert.truthy(result():find "dest address type %(nil%)")
		assert.truthy(call(c, "x", "@echo", "echo")():find "dest address type %(nil%)")
		c:kill()
	end)
end)
