--- Machines for specs: network namespaces joined by a bridge, and what goes wrong between them.
-- Needs root and iproute2; netns.missing() says why it can't be done.

local kit = require "testkit"

local netns = {}
netns.__index = netns

local prefix = ("sk%x"):format(math.floor(kit.now() * 1000) % 0xffffff) -- nobody else's
local count, all = 0, {}
local cables = {} -- pids

local function run(...)
	local words = { ... }
	for i, word in ipairs(words) do
		words[i] = "'" .. word .. "'"
	end
	local p = assert(io.popen(table.concat(words, " ") .. " 2>&1"))
	local text = p:read "a"
	return p:close(), text
end

local function must(...)
	local ok, text = run(...)
	if not ok then
		error(table.concat({ ... }, " ") .. ": " .. text, 3)
	end
	return text
end

--- Why there can be no machines here; nil when there can.
function netns.missing()
	local name = prefix .. "t"
	local ok, text = run("ip", "netns", "add", name)
	if ok then
		ok, text = run("ip", "-n", name, "link", "add", "name", "cable", "type", "veth", "peer",
			"name", "end2")
		if ok then
			ok, text = run("ip", "-n", name, "tuntap", "add", "dev", "rough", "mode", "tun")
		end
		run("ip", "netns", "del", name)
	end
	return not ok and "no network namespaces here: " .. text or nil
end

--- Two machines with a cable between them: `a.address` and `b.address`.
function netns.pair()
	count = count + 1
	local a = setmetatable({ name = ("%s%da"):format(prefix, count), address = "10.231.0.1" }, netns)
	local b = setmetatable({ name = ("%s%db"):format(prefix, count), address = "10.231.0.2" }, netns)
	for _, m in ipairs { a, b } do
		must("ip", "netns", "add", m.name)
		all[#all + 1] = m
		must("ip", "-n", m.name, "link", "set", "lo", "up")
	end
	must("ip", "-n", a.name, "link", "add", "name", "cable", "type", "veth", "peer",
		"name", "cable", "netns", b.name)
	for _, m in ipairs { a, b } do
		must("ip", "-n", m.name, "address", "add", m.address .. "/24", "dev", "cable")
		must("ip", "-n", m.name, "link", "set", "cable", "up")
	end
	return a, b
end

--- What this machine sends suffers from now on: words of `tc qdisc`, as "tbf rate 4mbit burst 32kb
--- latency 1s".
function netns:suffer(how)
	local words = { "tc", "-n", self.name, "qdisc", "replace", "dev", "cable", "root" }
	for word in how:gmatch "%S+" do
		words[#words + 1] = word
	end
	must(table.unpack(words))
end

--- What two machines send to each other takes a bad cable from now on (not what goes on already): delay and
--- jitter in seconds, loss as a share.
function netns.worsen(a, b, delay, jitter, loss)
	local run_cable = ("require('bad_cable').run('%s', '%s', %f, %f, %f)"):format(a.name, b.name,
		delay, jitter, loss)
	local pid, out, input = kit.spawn { "3rd/lua/lua", "-e", "package.cpath = 'test/lib/?.so'", "-e", run_cable }
	cables[#cables + 1] = pid
	local text = kit.read(out, 10)
	kit.close(out)
	kit.close(input)
	assert(text == "ready\n", text)
	for _, end_ in ipairs { { a, b }, { b, a } } do
		must("ip", "-n", end_[1].name, "link", "set", "rough", "up")
		must("ip", "-n", end_[1].name, "route", "add", end_[2].address .. "/32", "dev", "rough",
			"src", end_[1].address)
	end
end

--- What two machines send to each other is swallowed from now on: it goes to an address nobody has.
function netns.cut(a, b)
	must("ip", "-n", a.name, "neigh", "replace", b.address, "lladdr", "02:00:00:00:00:99", "dev", "cable")
	must("ip", "-n", b.name, "neigh", "replace", a.address, "lladdr", "02:00:00:00:00:99", "dev", "cable")
end

function netns.mend(a, b)
	must("ip", "-n", a.name, "neigh", "del", b.address, "dev", "cable")
	must("ip", "-n", b.name, "neigh", "del", a.address, "dev", "cable")
end

--- Words to run a command on this machine.
function netns:command(...)
	return { "ip", "netns", "exec", self.name, ... }
end

--- TCP connections this machine has on a port, its own or the other side's.
function netns:connections(port)
	local text = must("ip", "netns", "exec", self.name, "ss", "-Htn", "state", "established")
	local n = 0
	for line in text:gmatch "[^\n]+" do
		if line:find(":" .. port .. "%f[%D]") then
			n = n + 1
		end
	end
	return n
end

function netns.remove_all()
	for i = #cables, 1, -1 do
		kit.kill(cables[i], 9)
		kit.wait(cables[i], 10)
		cables[i] = nil
	end
	for i = #all, 1, -1 do
		run("ip", "netns", "del", all[i].name)
		all[i] = nil
	end
end

return netns
