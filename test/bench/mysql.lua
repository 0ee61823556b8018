--- The mysql driver over one connection: small queries, statements, and many rows.
-- workers: 2
local skynet = require "skynet"
local bench = require "bench"
package.path = skynet.getenv "bench_dir" .. "/../lib/?.lua;" .. package.path
local mysql = require "skynet.db.mysql"
local servers = require "servers"

local function run(port)
	local db = mysql.connect { host = "127.0.0.1", port = port, user = "root", database = "bench" }
	for i = 1, 1000 do
		db:query(("INSERT INTO t VALUES (%d, 'player number %d', %d / 7)"):format(i, i, i))
	end
	local n = bench.scale(20000)
	bench.rate("mysql select 1, 1 caller", n, function()
		for _ = 1, n do
			db:query "SELECT 1"
		end
	end)
	bench.rate("mysql select 1, 20 callers", n, function()
		bench.parallel(20, function()
			for _ = 1, n // 20 do
				db:query "SELECT 1"
			end
		end)
	end)
	local stmt = db:prepare "SELECT id, name FROM t WHERE id = ?"
	bench.rate("mysql select by statement", n, function()
		for i = 1, n do
			db:execute(stmt, i % 1000)
		end
	end)
	n = bench.scale(200)
	bench.rate("mysql rows of 3 columns", n * 1000, function()
		for _ = 1, n do
			assert(#db:query "SELECT id, name, score FROM t" == 1000)
		end
	end)
	db:disconnect()
end

bench.main(function()
	local server = servers.mariadb({}, [[
CREATE DATABASE bench;
CREATE TABLE bench.t (id INT PRIMARY KEY, name VARCHAR(40), score DOUBLE);
]])
	local ok, err = pcall(run, server.port)
	server:stop()
	assert(ok, err)
end)
