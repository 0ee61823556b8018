--- Subscriptions to channels of a Redis server: an object that waits for their messages.
--
-- The connection is a socketchannel on which nothing is matched: commands are sent without
-- waiting, and message() waits for whatever comes. What was subscribed is subscribed again after
-- a reconnect. Messages that nobody fetches wait in the socket, which pauses when there are many.

local resp = require "skynet.db.redis.resp"
local skynet = require "skynet"
local socketchannel = require "skynet.socketchannel"
local stream = require "skynet.db.stream"

local watch = {}

---@class skynet.db.redis.watch
---@field subscribe fun(self: skynet.db.redis.watch, ...: string)   receive from these channels
---@field psubscribe fun(self: skynet.db.redis.watch, ...: string)  from names that match
---@field ssubscribe fun(self: skynet.db.redis.watch, ...: string)  from channels of a shard
---@field unsubscribe fun(self: skynet.db.redis.watch, ...: string) no name: all
---@field punsubscribe fun(self: skynet.db.redis.watch, ...: string)
---@field sunsubscribe fun(self: skynet.db.redis.watch, ...: string)
local class = {}
class.__index = class

-- For each command: the one that undoes it.
local undo = {
	subscribe = "unsubscribe",
	psubscribe = "punsubscribe",
	ssubscribe = "sunsubscribe",
}

-- kind of message -> positions of its data, channel, pattern
local layouts = {
	message = { 3, 2 },
	smessage = { 3, 2 },
	pmessage = { 4, 3, 2 },
}

-- Read up to the next message; everything else (confirmations, pongs) is dropped.
local function message_reader(max)
	return function(sock)
		while true do
			local reply, failed = resp.read(sock, max)
			if failed then
				return false, reply
			end
			local layout = type(reply) == "table" and layouts[reply[1]]
			if layout then
				return true, { reply[layout[1]], reply[layout[2]], reply[layout[3]] }
			end
		end
	end
end

local function tell(channel, command, name)
	channel:request(resp.request(command:upper(), { name }, 1))
end

for command, opposite in pairs(undo) do
	class[command] = function(self, ...)
		for _, name in ipairs { ... } do
			tell(self.channel, command, name)
			self.wanted[command][name] = true
		end
	end
	class[opposite] = function(self, ...)
		local wanted = self.wanted[command]
		local names = { ... }
		if #names == 0 then -- all
			for name in pairs(wanted) do
				names[#names + 1] = name
			end
		end
		for _, name in ipairs(names) do
			tell(self.channel, opposite, name)
			wanted[name] = nil
		end
	end
end

-- Fetch one message for whoever waits for it; it's kept when nobody does any more.
local function fetch(self)
	local ok, message = pcall(self.channel.response, self.channel, self.read_message)
	self.fetching = nil
	table.insert(self.fetched, { ok, message })
	local waiter = table.remove(self.waiters, 1)
	if waiter then
		skynet.wakeup(waiter)
	end
end

local function give_up(self, waiter)
	for i, w in ipairs(self.waiters) do
		if w == waiter then
			table.remove(self.waiters, i)
			return
		end
	end
end

-- The next message or failure, within a time; nil when there's none.
local function await(self, timeout)
	local deadline = timeout and skynet.now() + timeout
	while #self.fetched == 0 do
		if not self.fetching then
			self.fetching = true
			skynet.fork(fetch, self)
		end
		local waiter = {}
		table.insert(self.waiters, waiter)
		local left = deadline and deadline - skynet.now()
		if not left then
			skynet.wait(waiter)
		elseif left <= 0 or skynet.sleep(left, waiter) ~= "BREAK" then
			give_up(self, waiter)
			if #self.fetched == 0 then
				return nil
			end
		end
	end
	return table.remove(self.fetched, 1)
end

--- Wait for a message. Raises once when the connection is lost, and connects again (until it
--- works) when it's called after that. Raises what the server refuses.
---@param timeout integer|nil  cs; nil when they pass without a message
---@return string|nil data, string|nil channel, string|nil pattern
function class:message(timeout)
	local message
	if timeout or self.fetching or #self.fetched > 0 then
		local got = await(self, timeout)
		if not got then
			return nil
		elseif not got[1] then
			error(got[2], 0)
		end
		message = got[2]
	else
		message = self.channel:response(self.read_message)
	end
	return message[1], message[2], message[3]
end

--- Ask the server for a sign of life, so that a dead connection is noticed.
function class:ping()
	self.channel:request "*1\r\n$4\r\nPING\r\n"
end

--- Close the connection; a message() that waits raises. The object has no methods any more.
function class:disconnect()
	self.channel:close()
	setmetatable(self, nil)
end

function class:__gc()
	self.channel:close()
end

--- Connect. Raises when that fails.
---@param conf skynet.db.redis.conf
---@param login fun(channel: table)
---@return skynet.db.redis.watch
function watch.new(conf, login)
	local wanted = {}
	for command in pairs(undo) do
		wanted[command] = {}
	end
	local channel = socketchannel.channel {
		host = conf.host,
		port = conf.port or 6379,
		nodelay = true,
		buffered = stream.peek,
		connect_timeout = conf.connect_timeout or conf.timeout,
		auth = function(channel)
			login(channel)
			for command, names in pairs(wanted) do
				for name in pairs(names) do
					tell(channel, command, name)
				end
			end
		end,
	}
	local w = setmetatable({ channel = channel, wanted = wanted, fetched = {}, waiters = {},
		read_message = message_reader(conf.max_reply) }, class)
	local ok, err = pcall(channel.connect, channel, true)
	if not ok then
		w:disconnect()
		error(err, 0)
	end
	return w
end

return watch
