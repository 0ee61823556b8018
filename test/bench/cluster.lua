--- Calls to another process through the cluster: rate, latency, CPU time of both nodes.
-- workers: 2
local skynet = require "skynet"
local cluster = require "skynet.cluster"
local bench = require "bench"

if skynet.getenv "bench_role" == "server" then
	skynet.start(function()
		skynet.dispatch("lua", function(session, _, cmd, data)
			if cmd == "cpu" then
				skynet.ret(skynet.pack(os.clock()))
			elseif cmd == "end" then
				skynet.timeout(0, function()
					require("skynet.manager").abort()
				end)
			elseif session ~= 0 then
				skynet.ret(skynet.pack(data))
			end
		end)
		cluster.register("echo", skynet.self())
		cluster.open "me"
		io.stdout:write "ready\n"
		io.stdout:flush()
	end)
	return
end

local function free_port()
	local socket = require "skynet.socket"
	local id, _, port = socket.listen("127.0.0.1", 0)
	socket.close(id)
	return port
end

-- The same configuration with another role, and a cluster file of its own.
local function start_server(port)
	local name = os.tmpname()
	local f = assert(io.open(name, "w"))
	f:write(("me = \"127.0.0.1:%d\"\n"):format(port))
	f:close()
	local config = os.tmpname()
	f = assert(io.open(config, "w"))
	for _, key in ipairs { "thread", "lualoader", "luaservice", "lua_path", "lua_cpath", "cpath" } do
		f:write(("%s = %q\n"):format(key, skynet.getenv(key)))
	end
	f:write(("harbor = 0\nbootstrap = \"snlua bootstrap\"\nstart = \"cluster\"\n"))
	f:write(("bench_role = \"server\"\ncluster = %q\n"):format(name))
	f:close()
	local p = assert(io.popen("./skynet " .. config .. " 2>&1"))
	for line in p:lines() do
		if line == "ready" then
			return p, name, config
		end
	end
	error "the server didn't start"
end

local function cpu()
	return os.clock() + cluster.call("peer", "@echo", "cpu")
end

local function measure(what, callers, n, size)
	local data = ("x"):rep(size)
	local samples = {}
	n = math.max(bench.scale(n), callers)
	local used, begin = cpu(), skynet.hpc()
	bench.parallel(callers, function()
		for _ = 1, n // callers do
			local at = skynet.hpc()
			cluster.call("peer", "@echo", "echo", data)
			samples[#samples + 1] = (skynet.hpc() - at) / 1e3
		end
	end)
	local wall = (skynet.hpc() - begin) / 1e9
	used = cpu() - used
	local metric = ("cluster.call %s, %d callers"):format(what, callers)
	bench.report(metric, #samples / wall, "/s")
	bench.report(metric .. " cpu, both nodes", used / #samples * 1e6, "us")
	bench.spread(metric, samples, "us")
end

local function sends(n)
	local begin = skynet.hpc()
	for i = 1, n do
		cluster.send("peer", "@echo", "note", "x")
		if i % 1000 == 0 then
			cluster.call("peer", "@echo", "echo", 1) -- what was sent before has been handled
		end
	end
	bench.report("cluster.send 64 B", n / ((skynet.hpc() - begin) / 1e9), "/s")
end

bench.main(function()
	local port = free_port()
	local server, name, config = start_server(port)
	cluster.reload { peer = "127.0.0.1:" .. port }
	cluster.call("peer", "@echo", "echo", 1)
	measure("64 B", 1, 5000, 64)
	measure("64 B", 64, 60000, 64)
	measure("64 B", 1000, 60000, 64)
	measure("4 KB", 1, 3000, 4096)
	measure("4 KB", 64, 20000, 4096)
	measure("64 KB", 1, 1000, 65536)
	measure("1 MB", 1, 100, 1 << 20)
	measure("1 MB", 64, 256, 1 << 20)
	sends(bench.scale(50000))
	cluster.send("peer", "@echo", "end")
	server:close()
	os.remove(name)
	os.remove(config)
end)
