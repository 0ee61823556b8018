--- A small shop: queries, statements, a transaction on a connection of its own, errors.
local skynet = require "skynet"
local mysql = require "skynet.db.mysql"
require "skynet.manager"

local function connect()
	return mysql.connect {
		host = os.getenv "MYSQL_HOST" or "127.0.0.1",
		port = tonumber(os.getenv "MYSQL_PORT") or 3306,
		user = os.getenv "MYSQL_USER" or "root",
		password = os.getenv "MYSQL_PASSWORD" or "",
		charset = "utf8mb4",
		timeout = 1000, -- centiseconds: no request waits for longer
		on_connect = function(db) -- after a reconnect, too
			db:query "CREATE DATABASE IF NOT EXISTS skynet_example"
			db:query "USE skynet_example"
		end,
	}
end

-- What a request gave; the server's refusal becomes an error.
local function check(result)
	if result.badresult then
		error(("%s (%d)"):format(result.err, result.errno))
	end
	return result
end

local function stock(db)
	check(db:query "DROP TABLE IF EXISTS goods")
	check(db:query [[CREATE TABLE goods (
		id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(40) UNIQUE, price INT)]])
	-- values belong into parameters; what must be text is quoted
	local insert = check(db:prepare "INSERT INTO goods (name, price) VALUES (?, ?)")
	for name, price in pairs { sword = 120, shield = 80, ["cook's hat"] = 5 } do
		check(db:execute(insert, name, price))
	end
	db:stmt_close(insert)
	local name = mysql.quote_sql_str "cook's hat"
	check(db:query("UPDATE goods SET price = price + 1 WHERE name = " .. name))
end

-- Coroutines share a connection; a transaction needs one for itself.
local function sell(name)
	local db = connect()
	check(db:query "START TRANSACTION")
	local sql = check(db:prepare "SELECT price FROM goods WHERE name = ? FOR UPDATE")
	local row = check(db:execute(sql, name))[1]
	check(db:query("DELETE FROM goods WHERE name = " .. mysql.quote_sql_str(name)))
	check(db:query "COMMIT")
	db:disconnect()
	return row.price
end

local function run()
	local db = connect()
	skynet.error("the server is", db:server_ver())
	stock(db)
	skynet.error("sold a sword for", sell "sword")
	for _, row in ipairs(check(db:query "SELECT name, price FROM goods ORDER BY price")) do
		skynet.error(("%s costs %d"):format(row.name, row.price))
	end
	local result = db:query "INSERT INTO goods (name) VALUES ('shield')"
	skynet.error(("refused: %s (%s)"):format(result.err, result.sqlstate))
	check(db:query "DROP DATABASE skynet_example")
	db:disconnect()
end

skynet.start(function()
	local ok, err = pcall(run)
	if not ok then
		skynet.error("the example failed:", err)
	end
	skynet.abort()
end)
