--- The connection of a MongoDB client: requests and replies over a socketchannel, with deadlines.
--
-- Every request runs in a coroutine of its own inside the channel, and its caller waits beside
-- it for the reply or the deadline, whichever comes first: so a deadline also covers connecting,
-- and a caller is never left behind. One coroutine looks after all deadlines of a link, once a
-- second, while there's something to wait for.
--
-- When a request is late and the server has said nothing at all since it was sent, the
-- connection is dropped, and everybody who waits for it learns that. A reply that's malformed
-- concerns only the one who asked, as long as the frame around it is sound.

local driver = require "skynet.mongo.driver"
local skynet = require "skynet"
local socketchannel = require "skynet.socketchannel"

local MAX_REPLY = 48000000 + 65536 -- bytes; servers send at most 48,000,000 and some
local MIN_REPLY = 17 -- a header and flags, without the length
local MORE_TO_COME = 2 -- flag: no reply is wanted
local LOOK = 100 -- centiseconds between looks at the deadlines

local link = {}
local class = {}
class.__index = class

-- Session mode: the request's id, ok, and the reply's bytes or an error.
local function read_reply(sock, state)
	local size = driver.length(sock:read(4))
	if size < MIN_REPLY or size > MAX_REPLY then
		error(("mongo: a reply of %d bytes, at most %d are accepted"):format(size, MAX_REPLY), 0)
	end
	local bytes = sock:read(size)
	state.heard = skynet.now()
	local responds_to = string.unpack("<i4", bytes, 5)
	local fine, ok, id = pcall(driver.reply, bytes)
	if not fine then
		return responds_to, false, ok
	elseif not ok then
		return responds_to, false, "mongo: the reply is shorter than its header"
	end
	return id, true, bytes
end

--- A link that isn't connected yet.
---@param desc table  what socketchannel takes but `response`; auth as f()
---@param timeout integer|nil  centiseconds a request may take; nil: for ever
function link.new(desc, timeout)
	local state = { heard = 0 }
	local self = setmetatable({ state = state, timeout = timeout, waiting = {}, last_id = 0 }, class)
	local auth = desc.auth
	desc.response = function(sock)
		return read_reply(sock, state)
	end
	desc.auth = function()
		self.authorising = coroutine.running()
		local ok, err = pcall(auth)
		self.authorising = nil
		if not ok then
			error(err, 0)
		end
	end
	self.channel = socketchannel.channel(desc)
	return self
end

---@return integer id  of the next request: 31 bits
function class:next_id()
	self.last_id = (self.last_id % 0x7fffffff) + 1
	return self.last_id
end

local function late(self, w)
	local where = ("%s:%s"):format(self.channel.__host, tostring(self.channel.__port))
	w.done = true
	w.value = ("mongo: no answer from %s within %g s"):format(where, w.limit / 100)
	skynet.wakeup(w)
	if self.state.heard <= w.since then
		skynet.error(("mongo: %s is silent, the connection is dropped"):format(where))
		self.channel:changehost(self.channel.__host, self.channel.__port)
	end
end

local function watch(self)
	while next(self.waiting) do
		skynet.sleep(LOOK)
		local now = skynet.now()
		for w in pairs(self.waiting) do
			if not w.done and now >= w.deadline then
				late(self, w)
			end
		end
	end
	self.watched = false
end

-- Run f(...) in a coroutine of its own; its result, or the error of whatever ends the waiting.
local function within(self, limit, f, ...)
	if not limit then
		return f(...)
	end
	local now = skynet.now()
	local w = { since = now, deadline = now + limit, limit = limit }
	self.waiting[w] = true
	if not self.watched then
		self.watched = true
		skynet.fork(watch, self)
	end
	skynet.fork(function(...)
		local ok, value = pcall(f, ...)
		if not w.done then
			w.done, w.ok, w.value = true, ok, value
			skynet.wakeup(w)
		end
	end, ...)
	if not w.done then
		skynet.wait(w)
	end
	self.waiting[w] = nil
	if not w.done then
		w.done = true
		error "mongo: the request was interrupted"
	elseif not w.ok then
		error(w.value, 0)
	end
	return w.value
end

--- Connect, trying each address once. Raises the channel's error.
function class:connect()
	return within(self, self.timeout, self.channel.connect, self.channel, true)
end

--- Send a command and wait for its reply's bytes.
--- Raises the channel's error when the connection fails, or that there was no answer in time.
---@param doc userdata  bson
---@param patience integer|nil  centiseconds to wait at least
---@return string bytes
function class:request(doc, patience)
	local id = self:next_id()
	local channel = self.channel
	local packet = driver.op_msg(id, 0, doc)
	if self.authorising == coroutine.running() then
		return channel:request(packet, id) -- who waits for the connection has a deadline
	end
	local limit = self.timeout
	if limit and patience and patience > limit then
		limit = patience
	end
	return within(self, limit, channel.request, channel, packet, id)
end

--- Send a command that gets no reply.
---@param doc userdata  bson
function class:post(doc)
	local channel = self.channel
	local packet = driver.op_msg(self:next_id(), MORE_TO_COME, doc)
	if self.authorising == coroutine.running() then
		channel:request(packet)
	else
		within(self, self.timeout, channel.request, channel, packet)
	end
end

--- Use another server from now on.
---@param host string
---@param port integer|nil
function class:move(host, port)
	self.channel:changehost(host, port)
end

--- Other servers to try when the current one can't be reached.
---@param hosts table[]
function class:backup(hosts)
	self.channel:changebackup(hosts)
end

--- Close for good; whoever waits gets an error.
function class:close()
	self.channel:close()
end

return link
