--- Client of MySQL and MariaDB servers: queries, prepared statements, stored procedures.
--
-- A db object is a socketchannel in order mode: coroutines share its connection, the server works
-- off their requests one after another. A lost connection fails all pending requests with
-- socketchannel.error and is made again by the next one; what was pending isn't repeated. What
-- the server refuses is returned as a table with badresult = true, not raised.
--
-- Statements belong to a connection: `prepared` remembers the SQL of each and the connection it
-- was prepared on, so that one from a lost connection is prepared again when it's used.

local charsets = require "skynet.db.mysql.charset"
local login = require "skynet.db.mysql.login"
local packet = require "skynet.db.mysql.packet"
local result = require "skynet.db.mysql.result"
local socketchannel = require "skynet.socketchannel"
local statement = require "skynet.db.mysql.statement"
local stream = require "skynet.db.stream"

local QUIT, QUERY, PING = "\1", "\3", "\14"
local PREPARE_TRIES = 3

local mysql = {
	_VERSION = "0.14",
}

---@class skynet.db.mysql
local class = {}
class.__index = class

local prepared = setmetatable({}, { __mode = "k" }) -- statement -> { sql =, session = }

---------------------------------------------------------------------------------------------
-- Requests

-- Send a payload and read its answer by read(sock, compact).
local function ask(self, payload, read)
	local compact, max = self.compact, self.max_reply
	local data, sequence = packet.compose(payload, 0)
	return self.channel:request(data, function(sock)
		packet.begin(sock, sequence, max)
		return true, read(sock, compact)
	end, nil, self.timeout)
end

--- Run a query, or several separated by semicolons.
---
--- Returns what it gives: a list of rows { column = value } (or lists, see compact_arrays; NULL is
--- absent); a table { affected_rows =, insert_id =, server_status =, warning_count =, message = };
--- several of these as a list with multiresultset = true; or the server's error, { badresult =
--- true, errno =, err =, sqlstate = }. Raises when the connection fails.
---@param sql string
---@return table
function class:query(sql)
	return ask(self, QUERY .. sql, result.read_text)
end

--- Prepare a statement; parameters are question marks.
---@param sql string
---@return skynet.db.mysql.statement|table  an error table when it's refused
function class:prepare(sql)
	local stmt = ask(self, statement.prepare(sql), statement.read)
	if not stmt.badresult then
		prepared[stmt] = { sql = sql, session = self.shared.session }
	end
	return stmt
end

-- Make sure that a statement belongs to the connection in use. An error table when that fails.
local function renew(self, stmt)
	local origin = prepared[stmt]
	for _ = 1, PREPARE_TRIES do
		self.channel:connect(true, self.timeout)
		if not origin or origin.session == self.shared.session then
			return nil
		end
		local fresh = self:prepare(origin.sql)
		if fresh.badresult then
			return fresh
		end
		for k, v in pairs(fresh) do
			stmt[k] = v
		end
		origin.session = prepared[fresh].session
	end
	error(socketchannel.error, 0)
end

--- Run a prepared statement. Arguments may be integers, floats, strings, booleans and nil; there
--- must be exactly stmt.param_count of them.
---@param stmt skynet.db.mysql.statement
---@param ... any
---@return table  like query
function class:execute(stmt, ...)
	local args = table.pack(...)
	local payload = statement.execute(stmt, args)
	local refused = renew(self, stmt)
	if refused then
		return refused
	end
	if stmt.prepare_id ~= string.unpack("<I4", payload, 2) then
		payload = statement.execute(stmt, args)
	end
	return ask(self, payload, result.read_binary)
end

--- Forget what was sent for a statement's parameters.
---@param stmt skynet.db.mysql.statement
---@return table  OK or error table
function class:stmt_reset(stmt)
	return renew(self, stmt) or ask(self, statement.reset(stmt), result.read_status)
end

--- Let the server forget a statement.
---@param stmt skynet.db.mysql.statement
function class:stmt_close(stmt)
	local origin = prepared[stmt]
	if not origin or origin.session == self.shared.session then
		self.channel:request((packet.compose(statement.close(stmt), 0)))
	end
end

--- Ask for a sign of life.
---@return table  OK table
function class:ping()
	return ask(self, PING, result.read_status)
end

---------------------------------------------------------------------------------------------
-- The connection

--- The server's version.
---@return string
function class:server_ver()
	return self.shared.version
end

--- Rows as lists of values, or as { column = value }.
---@param value boolean
function class:set_compact_arrays(value)
	self.compact = value
end

--- The same connection with another time limit for each request: db:with_timeout(100):query(sql).
--- A request that isn't answered in time raises `no answer from HOST in time`; the server goes on
--- with it nevertheless.
---@param timeout integer|nil  cs; nil: none
---@return skynet.db.mysql
function class:with_timeout(timeout)
	local view = { timeout = timeout or false }
	return setmetatable(view, { __index = self })
end

--- Close the connection. The object has no methods any more.
function class:disconnect()
	local channel = self.channel
	if channel:connected() then
		pcall(channel.request, channel, (packet.compose(QUIT, 0)))
	end
	channel:close()
	setmetatable(self, nil)
end

---@class skynet.db.mysql.options
---@field host string
---@field port integer|nil      default 3306
---@field user string|nil
---@field password string|nil
---@field database string|nil
---@field charset string|nil    name of a character set
---@field max_packet_size integer|nil  bytes, announced to the server (default 1 MiB)
---@field compact_arrays boolean|nil   rows are lists
---@field on_connect fun(db: skynet.db.mysql)|nil  runs after each login, may query
---@field overload fun(on: boolean)|nil  called when unsent data piles up, and when it's gone
---@field timeout integer|nil   cs for each request (default: none)
---@field connect_timeout integer|nil  cs for connecting, and for the login (default: timeout)
---@field max_reply integer|nil bytes that an answer may take (default 1 GiB)
---@field multi_statements boolean|nil  false: the server refuses several queries in one
---@field tls boolean|table|nil true, or the options of skynet.db.stream.secure
---@field server_public_key string|nil  PEM, to seal the password with when there's no TLS

local function with_defaults(options)
	local all = {}
	for k, v in pairs(options) do
		all[k] = v
	end
	all.user = options.user or ""
	all.password = options.password or ""
	all.database = options.database or ""
	all.max_packet_size = options.max_packet_size or 1024 * 1024
	all.charset = charsets[options.charset or "_default"] or
		error(("mysql: unknown charset %q"):format(tostring(options.charset)), 0)
	return all
end

-- What happens on every new connection.
local function new_login(db, options)
	return function(channel)
		local version
		channel:response(function(sock)
			version = login.run(sock, options)
			return true
		end)
		db.shared.version = version
		db.shared.session = db.shared.session + 1
		if options.on_connect then
			options.on_connect(db)
		end
	end
end

--- Connect to a server. Raises when it can't be reached or refuses the login.
---@param options skynet.db.mysql.options
---@return skynet.db.mysql
function mysql.connect(options)
	options = with_defaults(options)
	local db = {
		compact = options.compact_arrays,
		timeout = options.timeout or false,
		max_reply = options.max_reply or packet.REPLY_MAX,
		shared = { session = 0 },
	}
	db.channel = socketchannel.channel {
		host = options.host,
		port = options.port or 3306,
		auth = new_login(db, options),
		overload = options.overload,
		nodelay = true,
		buffered = stream.peek,
		connect_timeout = options.connect_timeout or options.timeout,
	}
	setmetatable(db, class)
	local ok, err = pcall(db.channel.connect, db.channel, true)
	if not ok then
		db.channel:close()
		error(err, 0)
	end
	return db
end

local escapes = {
	["\0"] = "\\0", ["\b"] = "\\b", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t",
	["\26"] = "\\Z", ["\\"] = "\\\\", ["'"] = "\\'", ['"'] = '\\"',
}

--- A string as a literal of SQL, quotes included. For character sets that contain ASCII in single
--- bytes only (not gbk, sjis, big5: use statements there), and without NO_BACKSLASH_ESCAPES.
---@param s string
---@return string
function mysql.quote_sql_str(s)
	return "'" .. s:gsub('[%z\b\n\r\t\26\\\'"]', escapes) .. "'"
end

return mysql
