-- Nodes on machines of their own, and a network that loses, delays, swallows and falls apart.

local kit = require "testkit"
local netns = require "netns"
local node = require "node"

local why_not = netns.missing()

local function order(n, ...)
	kit.write(n.input, table.concat({ ... }, " ") .. "\n", 10)
end

-- A call on node n; returns a function that waits for its result.
local function call(n, ...)
	n.tag = n.tag + 1
	local tag = "t" .. n.tag
	order(n, "call", tag, ...)
	return function()
		return (n:expect("result " .. tag .. " ([^\n]*)"))
	end
end

local function start(words)
	local n = node.start({
		start = "clusternode", cluster_heartbeat = 1, cluster_connect_timeout = 2,
	}, words)
	n.port = tonumber((n:expect "port (%d+)"))
	n.tag = 0
	return n
end

local function introduce(n, name, machine, other)
	n.text = ""
	order(n, "reload", name, (machine and machine.address or "127.0.0.1") .. ":" .. other.port)
	n:expect("reloaded " .. name)
end

describe("between two machines", function()
	if why_not then
		pending(why_not)
		return
	end

	local m1, m2, a, b

	before_each(function()
		m1, m2 = netns.pair()
		a, b = start(m1:command()), start(m2:command())
		introduce(a, "b", m2, b)
		introduce(b, "a", m1, a)
		assert.equal("true 1", call(a, "b", "@echo", "echo", 1)())
	end)

	after_each(function()
		node.stop_all()
		netns.remove_all()
	end)

	it("loss, delay and changed order cost time, but no call", function()
		netns.worsen(m1, m2, 0.01, 0.008, 0.1)
		order(a, "many", "b", 300)
		assert.equal("300", a:expect("many (%d+)", 120))
		order(a, "big", "b", 200000)
		assert.equal("true", a:expect("big (%a+)", 120))
		order(b, "many", "a", 300)
		assert.equal("300", b:expect("many (%d+)", 120))
	end)

	it("a cut link fails its callers within the heartbeat's bound, at both ends, and comes back", function()
		local hanging = call(a, "b", "@echo", "hang")
		node.eventually(function() return m2:connections(b.port) == 1 end)
		netns.cut(m1, m2)
		assert.truthy(hanging():find "call failed$")
		a:expect "cluster node b %([%d.:]+%) is silent for %d+ seconds: the link is given up"
		-- dialling what swallows everything ends, too; and nobody else on the node waits meanwhile
		local dialling = call(a, "b", "@echo", "echo", 2)
		introduce(a, "self", m1, a)
		assert.equal("true 3", call(a, "self", "@echo", "echo", 3)())
		assert.truthy(dialling():find "call failed$")
		-- the other end lets go of the connection, which nobody ever closed in its eyes
		node.eventually(function() return m2:connections(b.port) == 0 end)
		netns.mend(m1, m2)
		node.eventually(function() return call(a, "b", "@echo", "echo", 4)() == "true 4" end)
		assert.equal("true 5", call(b, "a", "@echo", "echo", 5)())
	end)

	it("a machine that vanished and came back without its memory is noticed", function()
		local hanging = call(a, "b", "@echo", "hang")
		node.eventually(function() return m2:connections(b.port) == 1 end)
		netns.cut(m1, m2)
		b:kill()
		netns.mend(m1, m2) -- what a sends now is answered by a reset
		assert.truthy(hanging():find "call failed$")
		b = start(m2:command())
		introduce(a, "b", m2, b)
		assert.equal("true 2", call(a, "b", "@echo", "echo", 2)())
	end)

	it("a link that is slow delays what uses it, and fails nothing", function()
		m1:suffer "tbf rate 4mbit burst 32kb latency 400ms"
		-- 0.8 s there: well below the two seconds of silence after which a link is given up here
		order(a, "big", "b", 400000)
		local small = call(a, "b", "@echo", "echo", 2)
		assert.equal("true 2", small())
		assert.equal("true", a:expect "big (%a+)")
	end)
end)

-- Clock ticks of CPU the process has used.
local function cpu(n)
	local f = assert(io.open(("/proc/%d/stat"):format(n.pid)))
	local fields = f:read("a"):match "%) (.*)"
	f:close()
	local i, sum = 0, 0
	for field in fields:gmatch "%S+" do
		i = i + 1
		if i == 12 or i == 13 then
			sum = sum + tonumber(field)
		end
	end
	return sum
end

describe("a node whose descriptors are used up", function()
	it("says so, stays calm, and takes connections again when there are some", function()
		local a = start { "sh", "-c", 'ulimit -n 48; exec "$@"', "sh" }
		local held = {}
		for i = 1, 60 do
			held[i] = assert(kit.connect(a.port))
		end
		a:expect "accept error[^\n]*Too many open files"
		local before = cpu(a)
		kit.sleep(2)
		assert.is_true(cpu(a) - before < 100, "it spins") -- of about 200
		-- what it has goes on working
		order(a, "memory")
		a:expect "memory"
		for _, fd in ipairs(held) do
			kit.close(fd)
		end
		local b = start()
		introduce(b, "a", nil, a)
		node.eventually(function() return call(b, "a", "@echo", "echo", 1)() == "true 1" end)
		node.stop_all()
	end)

	it("and stays calm when it can't even refuse", function()
		local a = start()
		local limit = ("prlimit --pid %d --nofile=%%s"):format(a.pid)
		assert(os.execute(limit:format "3:1000"))
		local waits = assert(kit.connect(a.port))
		a:expect "accept error[^\n]*Too many open files"
		local before = cpu(a)
		kit.sleep(2)
		assert.is_true(cpu(a) - before < 100, "it spins") -- of about 200
		local _, lines = a.text:gsub("accept error", "")
		assert.equal(1, lines)
		assert(os.execute(limit:format "1000:1000"))
		local b = start()
		introduce(b, "a", nil, a)
		assert.equal("true 1", call(b, "a", "@echo", "echo", 1)())
		kit.close(waits)
		node.stop_all()
	end)
end)
