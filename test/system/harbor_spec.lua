-- Harbor mode between real nodes: names, unique services, nodes that die and come back.

local kit = require "testkit"
local node = require "node"
local h = require "harborkit"

describe("one node with harbor = 1", function()
	it("boots with the classic log, and uses names without a dot", function()
		local master = h.free_port()
		local n = h.start { id = 1, master = master, standalone = true, start = "harbornode ONLY" }
		n:expect "node is ready 16777225"
		n:expect "LAUNCH snlua harbornode ONLY\n" -- the logger may be later than a print
		local where = {}
		local function after(text)
			local at = n.text:find(text)
			assert.truthy(at, text)
			where[#where + 1] = at
		end
		after "%[:01000002%] LAUNCH snlua bootstrap\n"
		after "%[:01000003%] LAUNCH snlua launcher\n"
		after "%[:01000004%] LAUNCH snlua cmaster\n"
		after("%[:01000004%] master listen socket 127.0.0.1:" .. master .. "\n")
		after("%[:01000005%] slave connect to master 127.0.0.1:" .. master .. "\n")
		after "%[:01000006%] LAUNCH harbor 1 16777221\n"
		after "%[:01000005%] Waiting for 0 harbors\n"
		after "%[:01000005%] Shakehand ready\n"
		after "%[:01000007%] LAUNCH snlua datacenterd\n"
		after "%[:01000008%] LAUNCH snlua service_mgr\n"
		after "%[:01000009%] LAUNCH snlua harbornode ONLY\n"
		for i = 2, #where do
			assert.is_true(where[i - 1] < where[i])
		end
		n:expect("%[:01000004%] Harbor 1 %(fd=%d+%) report 127.0.0.1:" .. n.port .. "\n")
		assert.equal("true a b", h.call(n, "ONLY", "ECHO", "a", "b")())
		h.order(n, "query", "ONLY")
		n:expect "query ONLY true 16777225"
		h.order(n, "send", "ONLY", "SAY", "hello")
		n:expect "said hello"
		-- a name that is taken: the slave's log tells
		h.order(n, "register", "ONLY")
		n:expect "assertion failed!"
		-- a name that comes later
		local later = h.call(n, "LATER", "ECHO", "later")
		h.order(n, "register", "LATER")
		assert.equal("true later", later())
		h.order(n, "connect", 1)
		n:expect "connect 1 done"
		h.order(n, "link", 9)
		n:expect "link 9 ended"
		h.order(n, "abort")
		assert.equal(0, n:exit_code())
	end)
end)

describe("three harbor nodes", function()
	local master, one, two, three

	local function start(id, name)
		local n = h.start { id = id, master = master, standalone = id == 1,
			start = "harbornode " .. name }
		n:expect "node is ready"
		return n
	end

	setup(function()
		master = h.free_port()
		one = start(1, "ONE")
		two = start(2, "TWO")
		three = start(3, "THREE")
	end)
	teardown(function()
		for _, n in ipairs { one, two, three } do
			n:kill()
		end
	end)

	it("reach each other by name and by handle", function()
		for _, n in ipairs { one, two, three } do
			for _, name in ipairs { "ONE", "TWO", "THREE" } do
				assert.equal("true x", h.call(n, name, "ECHO", "x")())
				assert.equal("true y", h.call(n, "@" .. name, "ECHO", "y")())
			end
		end
		assert.truthy(h.call(two, "THREE", "NOSUCH")():find "call failed$")
		assert.truthy(h.call(two, 0x03007777, "ECHO")():find "call failed$")
		three:expect "Unknown destination :3007777 from :2000007 type%(10%)"
	end)

	it("carry many calls and large messages", function()
		h.order(two, "many", "@THREE", 3000)
		two:expect "many 3000"
		h.order(three, "large", "ONE", 10000000)
		three:expect "large true 10000000"
	end)

	it("hold calls to a name until it's registered", function()
		local result = h.call(two, "NOTYET", "ECHO", "held")
		h.order(one, "query", "NOTYET")
		kit.sleep(0.2)
		h.order(three, "register", "NOTYET")
		assert.equal("true held", result())
		one:expect "query NOTYET true 503316%d+"
		assert.equal("true again", h.call(one, "NOTYET", "ECHO", "again")())
	end)

	it("share global unique services, wherever they're asked for first", function()
		h.order(two, "find", "echo")
		kit.sleep(0.2)
		h.order(two, "unique", "echo")
		local address = two:expect "unique true (%d+)"
		assert.equal(1, tonumber(address) >> 24)
		two:expect("found true " .. address)
		h.order(three, "unique", "echo")
		three:expect("unique true " .. address)
		h.order(three, "unique", "nosuchservice")
		three:expect "unique false [^\n]*call failed"
		h.order(two, "global", "pingserver")
		two:expect "global 1677%d+"
		h.order(three, "ping", "pingserver", "hello")
		three:expect "pinged hello"
		h.order(one, "list")
		local list = one:expect "list ([^\n]+)"
		assert.truthy(list:find "@echo=:01%x+", list)
		assert.truthy(list:find "@echo@2=:01%x+", list)
		assert.truthy(list:find "@snaxd.pingserver=:01%x+", list)
		assert.truthy(list:find "@snaxd.pingserver@3=:01%x+", list)
		assert.truthy(list:find "@nosuchservice=Error: [^,]*call failed", list)
	end)

	it("share the datacenter", function()
		h.order(two, "keep", "key", "value")
		two:expect "kept key"
		h.order(three, "recall", "key")
		three:expect "recalled key value"
	end)

	it("tell a global monitor of services that end on any node", function()
		h.order(two, "monitor", "harbormonitor")
		two:expect "monitor true 1677%d+"
		h.order(two, "kill")
		local victim = two:expect "killed (%d+)"
		one:expect("monitor: gone " .. victim)
	end)

	it("fail what waits for a node that is killed, and serve it when it's back", function()
		for round = 1, 2 do
			one.text, two.text = "", ""
			local a, b = h.call(one, "THREE", "HANG"), h.call(two, "@THREE", "HANG")
			h.order(two, "link", 3)
			assert.equal("true sync", h.call(two, "THREE", "ECHO", "sync")())
			assert.equal("true sync", h.call(one, "THREE", "ECHO", "sync")())
			three:kill()
			assert.truthy(a(20):find "call failed$")
			assert.truthy(b(20):find "call failed$")
			one:expect "slave 3 is down"
			two:expect "link 3 ended"
			assert.truthy(h.call(two, "THREE", "ECHO", "x")(20):find "call failed$")
			two:expect "Drop message to harbor 3 from"
			-- the name is free, and who asks for it waits
			h.order(two, "query", "THREE")
			h.order(two, "connect", 3)
			three = start(3, "THREE")
			two:expect "connect 3 done"
			two:expect "query THREE true 503316%d+"
			node.eventually(function()
				return h.call(one, "THREE", "ECHO", round)() == "true " .. round
			end)
			assert.equal("true b", h.call(two, "THREE", "ECHO", "b")())
			assert.equal("true c", h.call(three, "TWO", "ECHO", "c")())
		end
	end)

	it("lose the master, and keep their links", function()
		h.order(two, "linkmaster")
		assert.equal("true sync", h.call(two, "TWO", "ECHO", "sync")())
		local pending = h.call(three, "ONE", "HANG")
		assert.equal("true sync", h.call(three, "ONE", "ECHO", "sync")())
		one:kill()
		two:expect "Master disconnect"
		two:expect "linkmaster ended"
		assert.truthy(pending(20):find "call failed$")
		assert.equal("true still", h.call(two, "THREE", "ECHO", "still")())
		h.order(two, "query", "UNKNOWN")
		two:expect "query UNKNOWN false [^\n]*call failed"
	end)
end)
