--- Echo servers under load from another process: on skynet.socket, behind a gate and, beside them, a
--- bare loop of system calls; and what a connection costs that does nothing.
-- workers: 3 (one is blocked by the load's command)
local skynet = require "skynet"
local socket = require "skynet.socket"
local bench = require "bench"

local role = ...

if role == "agents" then
	-- one service echoes what a gate forwards to it
	local driver = require "skynet.socketdriver"
	skynet.register_protocol {
		name = "client",
		id = skynet.PTYPE_CLIENT,
		unpack = skynet.tostring,
		dispatch = function(fd, _, text)
			skynet.ignoreret()
			driver.send(fd, string.pack(">s2", text))
		end,
	}
	skynet.start(function()
		local gate
		skynet.dispatch("lua", function(_, _, cmd, sub, fd)
			if cmd == "start" then
				gate = sub
				skynet.ret()
			elseif cmd == "socket" and sub == "open" then
				skynet.call(gate, "lua", "forward", fd)
			elseif cmd == "socket" and sub == "close" then
				skynet.send(gate, "lua", "kick", fd)
			end
		end)
	end)
	return
end

if role == "client" then
	-- the load's command blocks a worker: in a service of its own, so that the servers go on
	skynet.start(function()
		skynet.dispatch("lua", function(_, _, command)
			local p = assert(io.popen(command))
			local line = p:read "l"
			p:close()
			skynet.ret(skynet.pack(line))
		end)
	end)
	return
end

local client

-- `elsewhere`: the server is another process, whose CPU time isn't known here.
local function load_on(name, port, conns, size, framing, elsewhere)
	local command = skynet.getenv "bench_dir" .. "/lib/echo_client"
	local seconds = math.max(0.3, 3 * (tonumber(os.getenv "BENCH_SCALE") or 1))
	local cpu = os.clock()
	local line = skynet.call(client, "lua",
		("%s %d %d %d %s %g"):format(command, port, conns, size, framing, seconds))
	cpu = os.clock() - cpu
	local rate, p50, p99, opened = (line or ""):match "(%S+) (%S+) (%S+) (%S+)"
	assert(rate, "the load client failed")
	local metric = ("%s echo %d B, %d connections"):format(name, size, conns)
	bench.report(metric, tonumber(rate), "/s")
	bench.report(metric .. " p50", tonumber(p50), "us")
	bench.report(metric .. " p99", tonumber(p99), "us")
	if not elsewhere then
		bench.report(metric .. " cpu", cpu / (rate * seconds) * 1e6, "us")
	end
	if conns == 5000 then
		bench.report("accept", tonumber(opened), "/s")
	end
end

local function resident_kb()
	local f <close> = assert(io.open "/proc/self/status")
	return tonumber(f:read("a"):match "VmRSS:%s+(%d+)")
end

local function bare_loop(conns)
	local p = assert(io.popen(skynet.getenv "bench_dir" .. "/lib/echo_loop"))
	load_on("bare loop", assert(p:read "n", "the loop failed"), conns, 16, "raw", true)
	assert(p:close())
end

-- Memory of the whole process, shared out. `open()` says how many connections the server has.
-- Only true before any load: what a load has freed would be used again.
local function idle_on(port, open)
	local n = bench.scale(10000)
	local before, had = resident_kb(), open()
	local p = assert(io.popen(("%s/lib/echo_client %d %d 16 idle 3"):format(skynet.getenv "bench_dir", port, n)))
	assert(p:read "l", "the client failed")
	while open() < had + n do
		skynet.sleep(1)
	end
	bench.report("memory of an idle connection", (resident_kb() - before) / n, "KB")
	assert(p:close())
end

local function echo(id)
	socket.start(id)
	while true do
		local data = socket.read(id)
		if not data then
			break
		end
		socket.write(id, data)
	end
	socket.close(id)
end

bench.main(function()
	client = skynet.newservice(SERVICE_NAME, "client")
	local id, _, port = socket.listen("127.0.0.1", 0, 1024)
	local accepted = 0
	socket.start(id, function(fd)
		accepted = accepted + 1
		skynet.fork(echo, fd)
	end)
	idle_on(port, function()
		return accepted
	end)
	for _, conns in ipairs { 1, 100, 1000, 5000, 10000 } do
		load_on("socket", port, conns, 16, "raw")
	end
	bare_loop(1)
	bare_loop(100)
	local agents = skynet.newservice(SERVICE_NAME, "agents")
	local gate = skynet.newservice "gate"
	skynet.call(agents, "lua", "start", gate)
	-- a gate doesn't tell its port when asked for any
	local probe, _, free = socket.listen("127.0.0.1", 0)
	socket.close(probe)
	skynet.call(gate, "lua", "open",
		{ address = "127.0.0.1", port = free, maxclient = 20000, watchdog = agents, nodelay = true })
	load_on("gate", free, 1, 16, "framed")
	load_on("gate", free, 100, 16, "framed")
	load_on("gate", free, 1, 1024, "framed")
end)
