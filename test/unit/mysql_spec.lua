-- The mysql driver against a real MariaDB server.

local eventually = require "eventually"
local mysql = require "skynet.db.mysql"
local servers = require "servers"
local skynet = require "skynet"
local socketchannel = require "skynet.socketchannel"

local server

local function connect(options)
	local all = { host = "127.0.0.1", port = server.port, user = "root", password = "123456",
		database = "skynet", charset = "utf8mb4" }
	for k, v in pairs(options or {}) do
		all[k] = v
	end
	return mysql.connect(all)
end

-- What a query gave, which must not be an error.
local function fine(result)
	assert(not result.badresult, result.err)
	return result
end

setup(function()
	server = servers.mariadb({ ["max-allowed-packet"] = "64M" }, [[
CREATE DATABASE skynet CHARACTER SET utf8mb4;
CREATE USER 'root'@'%' IDENTIFIED BY '123456';
GRANT ALL ON *.* TO 'root'@'%';
ALTER USER 'root'@'localhost' IDENTIFIED BY '123456';
ALTER USER 'root'@'127.0.0.1' IDENTIFIED BY '123456';
CREATE USER 'nobody'@'%';
]])
end)
teardown(servers.stop_all)

describe("mysql queries", function()
	local db
	setup(function()
		db = connect()
		fine(db:query [[
			CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(50), n BIGINT,
				u BIGINT UNSIGNED, d DOUBLE, f FLOAT, dec2 DECIMAL(10,2), ti TINYINT,
				tu TINYINT UNSIGNED, sm SMALLINT, me MEDIUMINT, y YEAR, da DATE, dt DATETIME,
				ts3 DATETIME(3), tm TIME, tm6 TIME(6), bl BLOB, b BIT(4), e ENUM('x', 'y'), j JSON)]])
	end)
	teardown(function()
		db:disconnect()
	end)

	it("give rows, or what they have changed", function()
		local r = fine(db:query "INSERT INTO t (name, n) VALUES ('one', 1), ('two', NULL)")
		assert.equal(2, r.affected_rows)
		assert.equal(1, r.insert_id)
		assert.equal(0, r.warning_count)
		assert.equal("Records: 2  Duplicates: 0  Warnings: 0", r.message)
		assert.same({ { id = 1, name = "one", n = 1 }, { id = 2, name = "two" } },
			db:query "SELECT id, name, n FROM t ORDER BY id")
		assert.same({}, db:query "SELECT id FROM t WHERE id = 99")
		r = fine(db:query "UPDATE t SET n = 1 WHERE id = 1") -- found, not changed
		assert.equal(1, r.affected_rows)
		assert.is_nil(fine(db:query "DELETE FROM t WHERE id = 99").message)
	end)

	it("give rows as lists when asked to", function()
		db:set_compact_arrays(true)
		assert.same({ { 1, "one", 1 }, { 2, "two", nil } },
			db:query "SELECT id, name, n FROM t ORDER BY id")
		db:set_compact_arrays(false)
		local compact = connect { compact_arrays = true }
		assert.same({ { 7, "x" } }, compact:query "SELECT 7, 'x'")
		compact:disconnect()
	end)

	it("map the types of columns", function()
		fine(db:query [[REPLACE INTO t VALUES (10, 'ä', -9223372036854775808, 18446744073709551615,
			1000, 0.5, '12.30', -128, 255, -32768, -8388608, 2024, '2024-02-29',
			'2024-02-29 12:34:56', '2024-02-29 12:34:56.12', '-100:01:02', '01:02:03.000004',
			x'00ff27', b'1010', 'y', '{"a": 1}')]])
		local row = fine(db:query "SELECT * FROM t WHERE id = 10")[1]
		assert.same({ id = 10, name = "ä", n = math.mininteger, u = 2.0 ^ 64, d = 1000, f = 0.5,
			dec2 = 12.3, ti = -128, tu = 255, sm = -32768, me = -8388608, y = 2024,
			da = "2024-02-29", dt = "2024-02-29 12:34:56", ts3 = "2024-02-29 12:34:56.120",
			tm = "-100:01:02", tm6 = "01:02:03.000004", bl = "\0\xff'", b = "\10", e = "y",
			j = '{"a": 1}' }, row)
		assert.equal("integer", math.type(row.d))
		assert.equal("float", math.type(row.u))
	end)

	it("return the server's errors", function()
		local r = db:query "SELECT * FROM nowhere"
		assert.is_true(r.badresult)
		assert.equal(1146, r.errno)
		assert.equal("42S02", r.sqlstate)
		assert.equal("Table 'skynet.nowhere' doesn't exist", r.err)
		assert.same({ { ["1"] = 1 } }, db:query "SELECT 1")
	end)

	it("of several statements give several results", function()
		local r = db:query "SELECT 1 AS a; SELECT 2 AS b; UPDATE t SET n = 5 WHERE id = 1"
		assert.is_true(r.multiresultset)
		assert.equal(3, #r)
		assert.same({ { a = 1 } }, r[1])
		assert.same({ { b = 2 } }, r[2])
		assert.equal(1, r[3].affected_rows)
		r = db:query "SELECT 1 AS a; SELECT * FROM nowhere; SELECT 2"
		assert.is_true(r.multiresultset)
		assert.is_true(r.badresult)
		assert.equal(1146, r.errno)
		assert.equal(1, #r)
		local single = connect { multi_statements = false }
		assert.equal(1064, single:query("SELECT 1; SELECT 2").errno)
		single:disconnect()
	end)

	it("quote strings", function()
		local all = {}
		for i = 0, 127 do
			all[#all + 1] = string.char(i)
		end
		all = table.concat(all)
		assert.equal([['\0\b\n\r\t\Z\\\'\"']], mysql.quote_sql_str "\0\b\n\r\t\26\\'\"")
		local r = fine(db:query("SELECT " .. mysql.quote_sql_str(all) .. " AS s"))
		assert.equal(all, r[1].s)
	end)

	it("carry more than one packet holds, both ways", function()
		local big = ("0123456789abcdef"):rep(1024 * 1024 + 1)
		local r = fine(db:query("SELECT '" .. big .. "' AS s, LENGTH('x') AS n"))
		assert.equal(big, r[1].s)
		assert.equal(1, r[1].n)
		-- exactly as much as fits: an empty packet follows
		r = fine(db:query("SELECT 1 AS a -- " .. ("x"):rep(0xffffff - 18)))
		assert.same({ { a = 1 } }, r)
		local stmt = fine(db:prepare "SELECT ? AS s")
		assert.equal(big, fine(db:execute(stmt, big))[1].s)
	end)

	it("of many coroutines are answered in order", function()
		local left = 100
		for i = 1, 100 do
			skynet.fork(function()
				assert(db:query("SELECT " .. i .. " AS i")[1].i == i)
				left = left - 1
			end)
		end
		eventually(function() return left == 0 end)
	end)
end)

describe("mysql statements", function()
	local db
	setup(function()
		db = connect()
		fine(db:query [[CREATE TABLE s LIKE t]])
	end)
	teardown(function()
		db:disconnect()
	end)

	it("are described", function()
		local stmt = fine(db:prepare "SELECT id, u FROM s WHERE id > ? AND name = ?")
		assert.equal(2, stmt.param_count)
		assert.equal(2, stmt.field_count)
		assert.equal(0, stmt.warning_count)
		assert.equal(2, #stmt.params)
		assert.equal("id", stmt.fields[1].name)
		assert.is_true(stmt.fields[1].is_signed)
		assert.is_nil(stmt.fields[2].is_signed)
		assert.equal(8, stmt.fields[2].type)
		assert.is_true(db:prepare("SELECT nonsense FROM s").badresult)
	end)

	it("take and give values of any type", function()
		local all = string.pack("<I8I8I8", 0, -1, 0x275c22)
		local stmt = fine(db:prepare [[INSERT INTO s (id, name, n, u, d, f, dec2, ti, tu, sm, me, y,
			da, dt, ts3, tm, tm6, bl, b, e, j) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)]])
		local r = fine(db:execute(stmt, 1, "ä", math.mininteger, 5.0, 1.5, 0.5, "12.30", true, 255,
			-32768, -8388608, 2024, "2024-02-29", "2024-02-29 12:34:56",
			"2024-02-29 12:34:56.12", "-100:01:02", "01:02:03.000004", all, 10, "y", "[]"))
		assert.equal(1, r.affected_rows)
		fine(db:execute(stmt, 2, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil,
			nil, nil, nil, nil, nil, nil))
		fine(db:query "UPDATE s SET u = 18446744073709551615 WHERE id = 1")
		local get = fine(db:prepare "SELECT * FROM s WHERE id = ?")
		assert.same({ { id = 1, name = "ä", n = math.mininteger, u = -1, d = 1.5, f = 0.5,
			dec2 = 12.3, ti = 1, tu = 255, sm = -32768, me = -8388608, y = 2024, da = "2024-02-29",
			dt = "2024-02-29 12:34:56", ts3 = "2024-02-29 12:34:56.120", tm = "-100:01:02",
			tm6 = "01:02:03.000004", bl = all, b = "\10", e = "y", j = "[]" } }, db:execute(get, 1))
		assert.same({ { id = 2 } }, db:execute(get, 2))
		assert.same({}, db:execute(get, 3))
		local zero = fine(db:prepare [[SELECT CAST('2024-01-01' AS DATETIME) AS midnight,
			CAST('00:00:00' AS TIME) AS none, CAST('2024-01-01' AS DATETIME(2)) AS two]])
		assert.same({ { midnight = "2024-01-01 00:00:00", none = "00:00:00",
			two = "2024-01-01 00:00:00.00" } }, db:execute(zero))
	end)

	it("refuse wrong arguments", function()
		local stmt = fine(db:prepare "SELECT ?, ?")
		local ok, err = pcall(db.execute, db, stmt, 1)
		assert.is_false(ok)
		assert.truthy(err:find "require stmt.param_count 2 get arg_num 1$")
		ok, err = pcall(db.execute, db, stmt, 1, {})
		assert.is_false(ok)
		assert.truthy(err:find "invalid parameter type table$")
	end)

	it("are reset and closed", function()
		local stmt = fine(db:prepare "SELECT 1 AS a")
		assert.equal(0, fine(db:stmt_reset(stmt)).warning_count)
		db:stmt_close(stmt)
		assert.is_true(db:execute(stmt).badresult)
		assert.is_true(db:stmt_reset(stmt).badresult)
	end)

	it("are prepared again after a reconnect", function()
		local stmt = fine(db:prepare "SELECT ? + 1 AS a")
		local other = fine(db:prepare "SELECT ? + 2 AS a")
		assert.same({ { a = 2 } }, db:execute(stmt, 1))
		local killer = connect()
		local id = db:query("SELECT CONNECTION_ID() AS id")[1].id
		fine(killer:query("KILL " .. id))
		killer:disconnect()
		eventually(function() return not db.channel:connected() end)
		assert.same({ { a = 3 } }, db:execute(other, 1))
		assert.same({ { a = 2 } }, db:execute(stmt, 1))
	end)

	it("call procedures", function()
		fine(db:query "CREATE PROCEDURE p (IN x INT) BEGIN SELECT x AS a; SELECT x * 2 AS b; END")
		local r = fine(db:query "CALL p(4)")
		assert.is_true(r.multiresultset)
		assert.same({ { a = 4 } }, r[1])
		assert.same({ { b = 8 } }, r[2])
		assert.equal(0, r[3].affected_rows)
		local stmt = fine(db:prepare "CALL p(?)")
		r = fine(db:execute(stmt, 5))
		assert.equal(5, r[1][1].a)
		assert.equal(10, r[2][1].b)
		assert.is_true(r.multiresultset)
		assert.is_true(r.mulitresultset)
		r = fine(db:execute(stmt, 6))
		assert.equal(6, r[1][1].a)
	end)
end)

describe("a mysql connection", function()
	it("knows the server, and answers", function()
		local db = connect()
		assert.truthy(db:server_ver():find "MariaDB")
		assert.equal(0, db:ping().affected_rows)
		db:disconnect()
		assert.is_nil(db.query)
	end)

	it("logs in without a password, a database or a character set", function()
		local db = connect { user = "nobody", password = "", database = "", charset = "_default" }
		assert.same({ { a = 1 } }, db:query "SELECT 1 AS a")
		db:disconnect()
	end)

	it("says why it was refused", function()
		for pattern, options in pairs {
			["errno:1045, msg:Access denied.*,sqlstate:28000"] = { password = "wrong" },
			["errno:1049, msg:Unknown database.*,sqlstate:42000"] = { database = "nowhere" },
			["unknown charset \"klingon\""] = { charset = "klingon" },
		} do
			local ok, err = pcall(connect, options)
			assert.is_false(ok)
			assert.truthy(tostring(err):find(pattern), tostring(err))
		end
	end)

	it("uses the character set", function()
		local db = connect { charset = "latin1" }
		assert.equal("\xe4", db:query("SELECT CONVERT(_utf8mb4 x'c3a4' USING utf8mb4) AS a")[1].a)
		db:disconnect()
	end)

	it("runs on_connect after every login", function()
		local count, seen = 0, nil
		local db = connect { on_connect = function(db)
			count = count + 1
			seen = db:query("SELECT " .. count .. " AS n")[1].n
		end }
		assert.equal(1, seen)
		db:query("KILL " .. db:query("SELECT CONNECTION_ID() AS id")[1].id)
		eventually(function() return not db.channel:connected() end)
		db:ping()
		assert.equal(2, seen)
		db:disconnect()
	end)

	it("limits the time of requests", function()
		local db = connect()
		local hasty = db:with_timeout(10)
		assert.same({ { a = 1 } }, hasty:query "SELECT 1 AS a")
		local ok, err = pcall(hasty.query, hasty, "SELECT SLEEP(0.5)")
		assert.is_false(ok)
		assert.truthy(err:find "no answer from 127.0.0.1:%d+ in time")
		assert.same({ { a = 2 } }, db:query "SELECT 2 AS a")
		db:disconnect()
	end)

	it("fails what's pending when the server dies, and comes back", function()
		local db = connect()
		local failed = 0
		for _ = 1, 3 do
			skynet.fork(function()
				local ok, err = pcall(db.query, db, "SELECT SLEEP(100)")
				if not ok and (err == socketchannel.error or err == "channel_closed") then
					failed = failed + 1
				end
			end)
		end
		skynet.sleep(5)
		server:kill()
		eventually(function() return failed == 3 end)
		assert.is_false(pcall(db.query, db, "SELECT 1"))
		server:restart()
		assert.same({ { a = 1 } }, db:query "SELECT 1 AS a")
		db:disconnect()
	end)
end)
