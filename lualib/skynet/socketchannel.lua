--- A connection that many coroutines share to talk to a server: it connects when it's needed,
--- matches answers with requests, and fails every waiting request when the connection is lost.
--
-- Two modes. *Order*: answers come in the order of the requests, each request brings the
-- function that reads its answer. *Session*: one function reads all answers, each names the
-- session it belongs to.
--
-- A channel is the part users see: where to connect, and the `link` in use. A link is one
-- connection: its socket, who waits for what, and the coroutine that reads. A link never refers
-- to its channel, so that a channel nobody uses any more is collected and closes its link.
--
-- Who waits is a record { ok =, value =, done =, gone = }, and the token it sleeps on. A waiter
-- whose time is up is `gone`: its answer is read and dropped when it comes after all. When a
-- server has said nothing since, and a request sent later gets no answer either, the connection
-- is given up as dead.

local driver = require "skynet.socketdriver"
local skynet = require "skynet"
local socket = require "skynet.socket"

local RETRY_LONGEST = 11 -- seconds between two attempts, at most

local socketchannel = {}

--- What fails when the connection fails: compare errors with it.
socketchannel.error = setmetatable({}, {
	__tostring = function()
		return "[Error: socket]"
	end,
})
local socket_error = socketchannel.error

---------------------------------------------------------------------------------------------
-- The object that response functions read from

local function raising(reader)
	return function(self, ...)
		local data = reader(self[1], ...)
		if data then
			return data
		end
		error(socket_error, 0)
	end
end

local stock_read, stock_readline = raising(socket.read), raising(socket.readline)

---------------------------------------------------------------------------------------------
-- Links

local function settle(waiter, ok, value)
	waiter.ok, waiter.value, waiter.done = ok, value, true
	skynet.wakeup(waiter)
end

-- Sleep until the waiter is settled, or the deadline. False when it isn't settled then.
local function settled(waiter, deadline)
	if waiter.done then
		return true
	elseif not deadline then
		skynet.wait(waiter)
	elseif deadline <= skynet.now() or
		skynet.sleep(deadline - skynet.now(), waiter) ~= "BREAK" then
		waiter.gone = true
		return waiter.done
	end
	if not waiter.done then -- woken by somebody else: nobody waits for this answer any more
		waiter.gone = true
		error "request was interrupted"
	end
	return true
end

local function outcome(waiter)
	if waiter.ok then
		return waiter.value
	end
	error(waiter.value, 0)
end

-- The link is over: whoever waits learns why.
local function drop(link, reason)
	if link.dead then
		return
	end
	link.dead = reason
	for i = link.head, link.tail do
		settle(link.queue[i], false, reason)
	end
	for _, waiter in pairs(link.sessions) do
		settle(waiter, false, reason)
	end
	link.queue, link.head, link.tail, link.sessions = {}, 1, 0, {}
	skynet.wakeup(link) -- a reader that has nothing to read for
	skynet.fork(socket.close, link.id)
end

-- A request wasn't answered in time. One slow answer is no reason to fail everybody else, but
-- silence towards a request that was sent after that is.
local function suspect(link, waiter)
	local head = link.queue[link.head]
	if link.dead or link.answers ~= waiter.answers or head and not head.gone then
		return
	elseif waiter.suspect then
		skynet.error("socket: no answers any more :", link.host, link.port)
		drop(link, socket_error)
	else
		link.suspect = true
	end
end

local function answered(link)
	link.answers = link.answers + 1
	link.suspect = nil
end

-- One more part of an answer; true when that was the last.
local function collect(waiter, ok, data, more)
	if ok and more then
		waiter.parts = waiter.parts or {}
		table.insert(waiter.parts, data)
		return false
	end
	if ok and waiter.parts then
		table.insert(waiter.parts, data)
		data = waiter.parts
	end
	if not waiter.gone then
		settle(waiter, ok, data)
	end
	return true
end

-- Read the answer of the request at the head.
local function read_in_order(link)
	local waiter = link.queue[link.head]
	local fine, ok, data, more = pcall(waiter.read, link.sock)
	if link.dead then
		return
	elseif not fine then
		drop(link, ok)
		return
	end
	answered(link)
	if collect(waiter, ok, data, more) then
		link.queue[link.head] = nil
		link.head = link.head + 1
	end
end

local function order_loop(link)
	local unasked = false -- bytes are there that no request has asked for
	while not link.dead do
		if link.head <= link.tail then
			unasked = false
			read_in_order(link)
		elseif unasked and link.unasked then
			unasked = false
			local fine, err = pcall(link.unasked, link.sock)
			if not fine then
				drop(link, err)
			end
		elseif unasked then
			skynet.wait(link)
		elseif link.buffered and link.buffered(link.sock) or socket.block(link.id) then
			unasked = true
		elseif not link.dead then
			skynet.error("socket closed by peer : ", link.host, link.port)
			drop(link, "channel_closed")
		end
	end
end

local function session_loop(link)
	while not link.dead do
		local fine, session, ok, data, more = pcall(link.response, link.sock)
		if link.dead then
			return
		elseif not fine then
			drop(link, session)
		elseif session == nil then
			drop(link, "channel_closed")
		else
			answered(link)
			local waiter = link.sessions[session]
			if not waiter then
				skynet.error("socket: unknown session :", session)
			elseif collect(waiter, ok, data, more) then
				link.sessions[session] = nil
			end
		end
	end
end

-- Tell the overload function about changes; log what it isn't told.
local function watch_output(link, overload)
	socket.warning(link.id, function(id, kilobytes)
		if kilobytes == 0 then
			if overload.on then
				overload.on = false
				overload.notify(false)
			end
		elseif overload.notify and not overload.on then
			overload.on = true
			overload.notify(true)
		else
			skynet.error(("WARNING: %d K bytes need to send out (fd = %d) %s %s"):format(kilobytes,
				id, link.host, link.port))
		end
	end)
end

local function open_link(channel, host, port)
	local called, id, err = pcall(socket.open, host, port, channel.__connect_timeout)
	if not called then
		return nil, id
	elseif not id then
		return nil, err
	end
	local link = {
		id = id,
		host = host,
		port = port,
		queue = {},
		head = 1,
		tail = 0,
		sessions = {},
		answers = 0,
		response = channel.__response,
		unasked = channel.__unasked,
		buffered = channel.__buffered,
		sock = { id, read = channel.__read, readline = channel.__readline },
	}
	if channel.__nodelay then
		driver.nodelay(id)
	end
	watch_output(link, channel.__overload)
	if channel.__overload.on then
		channel.__overload.on = false
		channel.__overload.notify(false)
	end
	skynet.fork(link.response and session_loop or order_loop, link)
	return link
end

---------------------------------------------------------------------------------------------
-- Connecting

local function wanted(channel, link)
	return not channel.__closed and not link.dead and channel.__host == link.host
end

-- Run the auth function on a new link. True, or false and why not; "again" when it made the
-- channel go elsewhere.
local function authorise(channel, link)
	if not channel.__auth then
		return true
	end
	channel.__link, channel.__authorising = link, coroutine.running()
	if channel.__connect_timeout then
		skynet.timeout(channel.__connect_timeout, function()
			if channel.__authorising and channel.__link == link then
				skynet.error("socket: auth takes too long", link.host, link.port)
				drop(link, socket_error)
			end
		end)
	end
	local ok, err = pcall(channel.__auth, channel)
	channel.__link, channel.__authorising = nil, nil
	if ok and not channel.__closed and not wanted(channel, link) then
		drop(link, socket_error)
		return false, "again"
	elseif ok then
		return true
	end
	drop(link, socket_error)
	if err ~= socket_error then
		skynet.error("socket: auth failed", err)
		channel.__denied = err
	end
	return false, tostring(err)
end

-- The hosts to try: the current one, then every backup that's another.
local function candidates(channel)
	local list = { { channel.__host, channel.__port } }
	local seen = { [channel.__host .. ":" .. tostring(channel.__port)] = true }
	for _, b in ipairs(channel.__backup or {}) do
		local host, port = b, channel.__port
		if type(b) == "table" then
			host, port = b.host, b.port
		end
		local key = host .. ":" .. tostring(port)
		if not seen[key] then
			seen[key] = true
			list[#list + 1] = { host, port }
		end
	end
	return list
end

-- One attempt at every host. The link, or nil and the last error.
local function attempt(channel)
	local err
	channel.__denied = nil
	for i, where in ipairs(candidates(channel)) do
		local host, port = where[1], where[2]
		if i > 1 then
			skynet.error("socket: connect to backup host", host, port)
		end
		local link
		link, err = open_link(channel, host, port)
		if link then
			if i > 1 then
				channel.__host, channel.__port = host, port
			end
			local ok
			ok, err = authorise(channel, link)
			if ok then
				return link
			elseif err == "again" then
				return attempt(channel)
			end
		end
		if channel.__closed then
			return nil, "channel is closed"
		end
	end
	return nil, err
end

local function attempt_forever(channel)
	local pause = 0
	while not channel.__closed do
		local link, err = attempt(channel)
		if link then
			skynet.error("socket: connect to", channel.__host, channel.__port)
			return link
		end
		skynet.error("socket: connect", err)
		if channel.__denied then
			return nil, err
		end
		if pause >= RETRY_LONGEST then
			pause = 1
		elseif pause == RETRY_LONGEST - 1 then
			skynet.error("socket: try to reconnect", channel.__host, channel.__port)
			pause = RETRY_LONGEST
		else
			pause = pause + 1
		end
		skynet.sleep((pause - 1) * 100)
	end
	return nil, "channel is closed"
end

-- Connect on behalf of all who wait for it, in a coroutine of its own, so that each of them may
-- stop waiting.
local function establish(channel, once)
	local connecting = channel.__connecting
	local called, link, err = pcall(once and attempt or attempt_forever, channel)
	channel.__connecting = nil
	if not called then
		link, err = nil, link
	end
	if link and channel.__closed then
		drop(link, socket_error)
		link, err = nil, "channel is closed"
	end
	channel.__link = link
	local reason = socket_error
	if not link then
		if once then
			skynet.error("Connect failed", err, channel.__host, channel.__port)
		end
		if channel.__denied then
			reason = ("%s: no more backup host"):format(tostring(channel.__denied))
		end
	end
	for _, waiter in ipairs(connecting) do
		settle(waiter, link ~= nil, link or reason)
	end
end

local function too_late(channel)
	error(("socketchannel: no answer from %s%s in time"):format(channel.__host,
		channel.__port and ":" .. channel.__port or ""), 0)
end

-- The link in use, or a new one. Raises when there's none to be had.
local function usable(channel, once, deadline)
	assert(not channel.__closed, "assertion failed!")
	local link = channel.__link
	if link and channel.__authorising and channel.__authorising ~= coroutine.running() then
		link = nil -- not ours yet
	end
	if link and not link.dead and socket.disconnected(link.id) then
		skynet.error("socket: disconnect detected ", link.host, link.port)
		drop(link, socket_error)
	end
	if link and not link.dead then
		return link
	elseif link and channel.__authorising then
		error(socket_error, 0)
	end
	if not channel.__connecting then
		channel.__connecting = {}
		skynet.fork(establish, channel, once)
	end
	local waiter = {}
	table.insert(channel.__connecting, waiter)
	if not settled(waiter, deadline) then
		too_late(channel)
	end
	return outcome(waiter)
end

---------------------------------------------------------------------------------------------
-- The channel

local channel_class = {}
channel_class.__index = channel_class

local function expect(link, response)
	local waiter = { answers = link.answers, suspect = link.suspect }
	if link.response then
		assert(link.sessions[response] == nil, "this session waits for an answer already")
		link.sessions[response] = waiter
	else
		waiter.read = response
		link.tail = link.tail + 1
		link.queue[link.tail] = waiter
		if link.tail == link.head then
			skynet.wakeup(link)
		end
	end
	return waiter
end

local function await(channel, link, response, deadline)
	local waiter = expect(link, response)
	if not settled(waiter, deadline) then
		suspect(link, waiter)
		too_late(channel)
	end
	return outcome(waiter)
end

-- A response function may have put a `write` into the sock object, as one that began TLS has.
local function send_through(sock, data, padding)
	local ok = sock:write(type(data) == "table" and table.concat(data) or data)
	for _, part in ipairs(padding or {}) do
		ok = sock:write(part) and ok
	end
	return ok
end

local function send(link, data, padding)
	if link.sock.write then
		return send_through(link.sock, data, padding)
	elseif not padding then
		return socket.write(link.id, data)
	end
	local ok = socket.lwrite(link.id, data)
	for _, part in ipairs(padding) do
		ok = socket.lwrite(link.id, part) and ok
	end
	return ok
end

-- One of the places of those who may wait at a time; given back when it's closed.
local place_class = {
	__close = function(place)
		place.channel.__waiting = place.channel.__waiting - 1
	end,
}

local function take_place(channel)
	local max = channel.__max_pending
	if not max then
		return nil
	elseif channel.__waiting >= max then
		error(("socketchannel: %d requests wait for %s%s already (max_pending)"):format(max, channel.__host,
			channel.__port and ":" .. channel.__port or ""), 0)
	end
	channel.__waiting = channel.__waiting + 1
	return setmetatable({ channel = channel }, place_class)
end

--- Connect, unless that's done. Reopens a closed channel.
--- Raises socketchannel.error, or the reason why the server refused.
---@param once boolean|nil  try each host once; otherwise until it works
---@param timeout integer|nil  cs to wait for that
---@return boolean
function channel_class:connect(once, timeout)
	self.__closed = false
	usable(self, once, timeout and skynet.now() + timeout)
	return true
end

--- Send a request and wait for its answer. Connects when necessary, trying each host once.
--- Raises socketchannel.error when the connection fails, what the answer says, or `N requests wait for
--- HOST already` at the channel's max_pending.
---@param request string|table
---@param response function|any|nil  order mode: f(sock) -> ok, result [, more]; session mode: the
---  session; nil: don't wait
---@param padding string[]|nil  more to send, all of it with low priority
---@param timeout integer|nil  cs for all of it; then this call raises `no answer from HOST in
---  time`, and the answer is dropped if it comes later
---@return any
function channel_class:request(request, response, padding, timeout)
	local _ <close> = take_place(self)
	local deadline = timeout and skynet.now() + timeout
	local link = usable(self, true, deadline)
	if not send(link, request, padding) then
		drop(link, socket_error)
		error(socket_error, 0)
	end
	if response ~= nil then
		return await(self, link, response, deadline)
	end
end

--- Wait for an answer without sending a request.
---@param response function|any  as in request
---@param timeout integer|nil  cs
---@return any
function channel_class:response(response, timeout)
	local _ <close> = take_place(self)
	local deadline = timeout and skynet.now() + timeout
	return await(self, usable(self, false, deadline), response, deadline)
end

--- Is there a connection in use?
---@return boolean
function channel_class:connected()
	local link = self.__link
	return link ~= nil and not link.dead and not socket.disconnected(link.id)
end

--- Close: whoever waits gets an error, and requests fail until connect is called.
function channel_class:close()
	if not self.__closed then
		self.__closed = true
		local link = self.__link
		self.__link = nil
		if link then
			drop(link, socket_error)
		end
	end
end

--- Use another server from now on; what waits for the old one fails.
---@param host string
---@param port integer|nil  default: as before
function channel_class:changehost(host, port)
	self.__host = host
	if port then
		self.__port = port
	end
	local link = self.__link
	if link then
		if not self.__authorising then
			self.__link = nil
		end
		drop(link, socket_error)
	end
end

--- Other servers to try when the current one can't be reached.
---@param backup (string|table)[]|nil
function channel_class:changebackup(backup)
	self.__backup = backup
end

function channel_class:__gc()
	self:close()
end

---@class skynet.socketchannel.desc
---@field host string
---@field port integer|nil
---@field auth fun(channel: table)|nil  runs after each connect, may use the channel
---@field response fun(sock: table): any, boolean, any, boolean|nil  makes it session mode
---@field backup (string|table)[]|nil
---@field connect_timeout integer|nil  cs for connecting to one host, and as many for auth
---@field unasked fun(sock: table)|nil  order mode: reads what arrives while nothing is requested
---@field buffered fun(sock: table): any  order mode: does the sock object hold bytes that were
---  read from the socket already? For readers that read ahead
---@field nodelay boolean|nil
---@field max_pending integer|nil  requests that may wait at a time, connecting included; further ones
---  fail at once. nil: any number
---@field overload fun(on: boolean)|nil
---@field socket_read function|nil      instead of sock:read
---@field socket_readline function|nil  instead of sock:readline

--- Make a channel. Nothing is connected yet.
---@param desc skynet.socketchannel.desc
---@return table channel
function socketchannel.channel(desc)
	return setmetatable({
		__host = assert(desc.host, "socketchannel.channel: host is missing"),
		__port = desc.port,
		__backup = desc.backup,
		__auth = desc.auth,
		__response = desc.response,
		__nodelay = desc.nodelay,
		__max_pending = desc.max_pending,
		__waiting = 0,
		__connect_timeout = desc.connect_timeout,
		__unasked = desc.unasked,
		__buffered = desc.buffered,
		__overload = { notify = desc.overload, on = false },
		__read = desc.socket_read or stock_read,
		__readline = desc.socket_readline or stock_readline,
		__closed = false,
	}, channel_class)
end

return socketchannel
