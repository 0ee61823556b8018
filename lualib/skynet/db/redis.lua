--- Client of Redis servers: commands, pipelines, and (redis.watch) subscriptions.
--
-- A db object is a socketchannel in order mode: coroutines share its connection, requests leave
-- at once, replies are matched in order. Every method that isn't defined here is a command. A
-- lost connection fails all pending commands with socketchannel.error and is made again by the
-- next one; what was pending isn't repeated, as nobody knows whether it was done.
--
-- The object is { channel, timeout }; redis.cluster and views by with_timeout make more of them.

local resp = require "skynet.db.redis.resp"
local skynet = require "skynet"
local socketchannel = require "skynet.socketchannel"
local stream = require "skynet.db.stream"
local watch = require "skynet.db.redis.watch"

local error, getmetatable, select, setmetatable, type =
	error, getmetatable, select, setmetatable, type
local compose, read, read_pushed = resp.request, resp.read, resp.read_pushed

local redis = {}

---@class skynet.db.redis
---@field [string] fun(self: skynet.db.redis, ...: any): any
local command = {}

-- What a reply function returns instead of a value that has to be raised.
local failure = {}

local function failed(value)
	return setmetatable({ value }, failure)
end

local function unwrap(reply)
	if type(reply) == "table" and getmetatable(reply) == failure then
		-- a table (errors in an array) can't be given a position
		error(reply[1], 3)
	end
	return reply
end

---------------------------------------------------------------------------------------------
-- Commands

-- Read a reply for a channel, with the push messages that surround it.
local function reader(max, push)
	return function(sock)
		local value, bad = read(sock, max, push)
		read_pushed(sock, max, push)
		if bad then
			return true, failed(value)
		end
		return true, value
	end
end

local function ignore()
end

local read_reply = reader(nil, ignore)

local function send(self, name, ...)
	local first = ...
	local channel = self[1]
	local data
	if first == nil then
		data = compose(name, {}, 0)
	elseif type(first) == "table" then
		data = compose(name, first, first.n or #first)
	else
		data = compose(name, { ... }, select("#", ...))
	end
	return channel:request(data, channel.read_reply, nil, self[2])
end

-- commands whose integer reply means yes or no
local predicates = { EXISTS = true, SISMEMBER = true }

--- What a command's method returns for this reply.
---@param name string
---@param reply any
---@return any
function redis.convert(name, reply)
	if predicates[name:upper()] then
		return reply == true or type(reply) == "number" and reply ~= 0
	end
	return reply
end

local function make_command(name)
	name = name:upper()
	if predicates[name] then
		return function(self, ...)
			return redis.convert(name, (unwrap(send(self, name, ...))))
		end
	end
	return function(self, ...)
		local reply = unwrap(send(self, name, ...))
		return reply
	end
end

setmetatable(command, {
	__index = function(t, name)
		if type(name) ~= "string" then
			return nil
		end
		local f = make_command(name)
		t[name] = f
		return f
	end,
})

command.__index = command

-- Requests of all ops as one list of strings.
local function compose_all(ops)
	assert(type(ops) == "table" and #ops > 0, "pipeline is null")
	local parts = {}
	for i, op in ipairs(ops) do
		local n = 0
		while op[n + 1] ~= nil do
			n = n + 1
		end
		assert(n > 0, "pipeline: an operation without a command")
		parts[i] = compose(tostring(op[1]), table.move(op, 2, n, 1, {}), n - 1)
	end
	return parts
end

--- Send several commands at once.
--- Without `results`, returns (or raises) the last reply only.
---@param ops any[][]  each { command, argument, ... }
---@param results table|nil  filled with { ok = boolean, out = reply or error text }, and returned
---@return any
function command:pipeline(ops, results)
	local channel = self[1]
	local parts = compose_all(ops)
	local max, push = channel.max_reply, channel.push
	local reply = channel:request(parts, function(sock)
		local all = results or {}
		local value, bad
		for i = 1, #parts do
			value, bad = read(sock, max, push)
			if results then
				all[i] = { ok = not bad, out = value }
			end
		end
		read_pushed(sock, max, push)
		if results then
			return true, all
		end
		return true, bad and failed(value) or value
	end, nil, self[2])
	reply = unwrap(reply)
	return reply
end

--- The same connection with another time limit for each command: db:with_timeout(50):get "k".
--- A command that isn't answered in time raises `no answer from HOST in time`. Don't limit
--- blocking commands (BLPOP) that way: give them a time-out of their own, or what they take from
--- a list after the limit is lost.
---@param timeout integer|nil  cs; nil: none
---@return skynet.db.redis
function command:with_timeout(timeout)
	return setmetatable({ self[1], timeout }, command)
end

--- Close the connection. The object has no methods any more.
function command:disconnect()
	self[1]:close()
	setmetatable(self, nil)
end

---------------------------------------------------------------------------------------------
-- Connecting

-- A request during the login; raises the server's error.
local function demand(channel, name, ...)
	local reply = channel:request(compose(name, { ... }, select("#", ...)), read_reply)
	if type(reply) == "table" and getmetatable(reply) == failure then
		error(tostring(reply[1]), 0)
	end
end

-- What has to be said on every new connection.
local function login(conf)
	local version = conf.protocol or 2
	assert(version == 2 or version == 3, "redis: the option protocol is 2 or 3")
	return function(channel)
		if conf.tls then
			channel:response(function(sock)
				stream.secure(sock, conf.tls, conf.host)
				return true
			end)
		end
		if version == 3 then
			if conf.auth then
				demand(channel, "HELLO", 3, "AUTH", conf.username or "default", conf.auth)
			else
				demand(channel, "HELLO", 3)
			end
		elseif conf.auth and conf.username then
			demand(channel, "AUTH", conf.username, conf.auth)
		elseif conf.auth then
			demand(channel, "AUTH", conf.auth)
		end
		if conf.db then
			demand(channel, "SELECT", conf.db)
		end
		if conf.readonly then
			demand(channel, "READONLY")
		end
	end
end

-- Reads push messages that come while nothing is requested.
local function pushed(max, push)
	return function(sock)
		if stream.next(sock) ~= 62 then -- ">"
			error("redis: the server sent a reply that nobody asked for", 0)
		end
		read_pushed(sock, max, push)
	end
end

local function new_channel(conf)
	local max, push = conf.max_reply, ignore
	if conf.push then
		push = function(message)
			skynet.fork(conf.push, message)
		end
	end
	local channel = socketchannel.channel {
		host = conf.host,
		port = conf.port or 6379,
		auth = login(conf),
		nodelay = true,
		buffered = stream.peek,
		overload = conf.overload,
		connect_timeout = conf.connect_timeout or conf.timeout,
		unasked = conf.protocol == 3 and pushed(max, push) or nil,
	}
	channel.max_reply, channel.push = max, push
	channel.read_reply = reader(max, push)
	return channel
end

---@class skynet.db.redis.conf
---@field host string
---@field port integer|nil      default 6379
---@field auth string|nil       password
---@field username string|nil   of an ACL user
---@field db integer|string|nil
---@field overload fun(on: boolean)|nil  called when unsent data piles up, and when it's gone
---@field timeout integer|nil   cs for each command (default: none)
---@field connect_timeout integer|nil  cs for connecting, and for the login (default: timeout)
---@field max_reply integer|nil bytes that a reply may take (default 1 GiB)
---@field protocol 2|3|nil      3: replies have the types of RESP3 (default 2)
---@field push fun(message: any[])|nil  protocol 3: gets what the server pushes (invalidations)
---@field tls boolean|table|nil true, or the options of skynet.db.stream.secure
---@field readonly boolean|nil  say READONLY: a cluster's replica then serves reads

--- A db object that connects with its first command.
---@param conf skynet.db.redis.conf
---@return skynet.db.redis
function redis.new(conf)
	return setmetatable({ new_channel(conf), conf.timeout }, command)
end

--- Connect to a server. Raises when it can't be reached or refuses the login.
---@param conf skynet.db.redis.conf
---@return skynet.db.redis
function redis.connect(conf)
	local db = redis.new(conf)
	local channel = db[1]
	local ok, err = pcall(channel.connect, channel, true)
	if not ok then
		channel:close()
		error(err, 0)
	end
	return db
end

--- Connect for subscriptions; see skynet.db.redis.watch.
---@param conf skynet.db.redis.conf
---@return skynet.db.redis.watch
function redis.watch(conf)
	return watch.new(conf, login(conf))
end

return redis
