--- One kind of operation, many times: what `make bench-counts` counts instructions, system calls and
--- page faults of. BENCH_WHAT names the operation, BENCH_N says how often.
local skynet = require "skynet"
local cluster = require "skynet.cluster"
local socket = require "skynet.socket"
require "skynet.manager"

local what, n = os.getenv "BENCH_WHAT", tonumber(os.getenv "BENCH_N")

if (...) == "peer" then
	skynet.start(function()
		local received = 0
		skynet.dispatch("lua", function(session, _, cmd)
			if session ~= 0 then
				skynet.ret(skynet.pack(cmd == "count" and received or cmd))
			else
				received = received + 1
			end
		end)
	end)
	return
end

local function new_peer()
	local peer = skynet.newservice(SERVICE_NAME, "peer")
	skynet.call(peer, "lua", "warm")
	return peer
end

local operation = {}

function operation.call()
	local peer = new_peer()
	for _ = 1, n do
		skynet.call(peer, "lua", "hello", 1)
	end
end

-- Among many services: what grows with their number would show here.
operation["call, one of 1000"] = function()
	local all = {}
	for i = 1, 1000 do
		all[i] = new_peer()
	end
	for i = 1, n do
		skynet.call(all[i * 7919 % 1000 + 1], "lua", "hello", 1)
	end
end

-- The cost of waiting mustn't grow with how many wait. The oldest goes first.
local function wake_one_of(many)
	for i = 1, many do
		skynet.fork(function()
			while true do
				skynet.wait(i)
			end
		end)
	end
	skynet.yield()
	for i = 1, n do
		skynet.wakeup(i % many + 1)
		skynet.yield()
	end
end

operation["wake one of 10 that wait"] = function()
	wake_one_of(10)
end

operation["wake one of 5000 that wait"] = function()
	wake_one_of(5000)
end

function operation.send()
	local peer = new_peer()
	for i = 1, n do
		skynet.send(peer, "lua", "hello", 1)
		if i % 100 == 0 then
			skynet.call(peer, "lua", "wait")
		end
	end
	skynet.call(peer, "lua", "wait")
end

operation["start a service"] = function()
	for _ = 1, n do
		skynet.newservice "trivial"
	end
end

operation["start and end a service"] = function()
	for _ = 1, n do
		skynet.kill(skynet.newservice "trivial")
	end
end

function operation.timer()
	for _ = 1, n do
		skynet.sleep(0)
		skynet.timeout(1, function() end)
	end
	skynet.sleep(3)
end

local sample = { id = 1, name = "hello", list = { 1, 2, 3, 4 }, pos = { x = 1.5, y = 2.5 }, ok = true }

function operation.pack()
	for _ = 1, n do
		skynet.trash(skynet.pack(sample))
	end
end

function operation.unpack()
	local text = skynet.packstring(sample)
	for _ = 1, n do
		skynet.unpack(text)
	end
end

-- Both ends in one process.
operation["socket echo, both ends"] = function()
	local id, _, port = socket.listen("127.0.0.1", 0)
	port = port or 0
	socket.start(id, function(client)
		socket.start(client)
		while true do
			local text = socket.read(client, 16)
			if not text then
				return socket.close(client)
			end
			socket.write(client, text)
		end
	end)
	local client = assert(socket.open("127.0.0.1", port))
	for _ = 1, n do
		socket.write(client, "0123456789abcdef")
		assert(socket.read(client, 16))
	end
	socket.close(client)
	socket.close(id)
end

operation["cluster.call 64 B, both nodes"] = function()
	local peer = new_peer()
	local port = tonumber(os.getenv "BENCH_PORT")
	cluster.reload { other = "127.0.0.1:" .. port }
	cluster.open(port)
	local text = ("x"):rep(64)
	for _ = 1, n do
		cluster.call("other", peer, text)
	end
end

local function minor_faults()
	local f = assert(io.open "/proc/self/stat")
	local text = f:read "a"
	f:close()
	return tonumber(text:match "%) %S+ %S+ %S+ %S+ %S+ %S+ %S+ (%d+)")
end

skynet.start(function()
	skynet.timeout(1, function()
		local before = minor_faults()
		operation[what]()
		print(("COUNT\t%d"):format(minor_faults() - before))
		if what == "start a service" then
			os.exit(0) -- without ending them
		end
		skynet.abort()
	end)
end)
