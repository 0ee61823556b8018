--- The redis driver over one connection, beside what redis-benchmark does with the same server.
-- workers: 2
local skynet = require "skynet"
local bench = require "bench"
package.path = skynet.getenv "bench_dir" .. "/../lib/?.lua;" .. package.path
local redis = require "skynet.db.redis"
local servers = require "servers"

local DEPTH = 100 -- commands in a pipeline

-- Requests per second of redis-benchmark's GET.
local function reference(port, n, options)
	local p = assert(io.popen(("redis-benchmark -h 127.0.0.1 -p %d -t get -d 16 -n %d -q %s")
		:format(port, n, options)))
	local rate = p:read "a":match "([%d.]+) requests per second"
	p:close()
	return tonumber(rate)
end

local function beside(metric, n, port, options, fn)
	local rate = n / bench.rate(metric, n, fn)
	local theirs = reference(port, n, options)
	bench.report(metric .. ", redis-benchmark", theirs, "/s")
	bench.report(metric .. ", ratio", rate / theirs, "x")
end

local function run(port)
	local db = redis.connect { host = "127.0.0.1", port = port }
	db:set("key:000000000000", ("x"):rep(16))
	local n = bench.scale(50000)
	beside("redis get, 1 caller", n, port, "-c 1", function()
		for _ = 1, n do
			db:get "key:000000000000"
		end
	end)
	n = bench.scale(200000)
	beside("redis get, 50 callers", n, port, "-c 50", function()
		bench.parallel(50, function()
			for _ = 1, n // 50 do
				db:get "key:000000000000"
			end
		end)
	end)
	local ops = {}
	for i = 1, DEPTH do
		ops[i] = { "GET", "key:000000000000" }
	end
	n = bench.scale(1000000)
	beside("redis get, pipeline of 100", n, port, "-c 1 -P " .. DEPTH, function()
		for _ = 1, n // DEPTH do
			db:pipeline(ops, {})
		end
	end)
	db:rpush("list", table.unpack(ops[1], 1, 1))
	for i = 1, 99 do
		db:rpush("list", "element " .. i)
	end
	n = bench.scale(20000)
	bench.rate("redis lrange of 100", n, function()
		for _ = 1, n do
			db:lrange("list", 0, -1)
		end
	end)
end

bench.main(function()
	local server = servers.redis()
	local ok, err = pcall(run, server.port)
	server:stop()
	assert(ok, err)
end)
