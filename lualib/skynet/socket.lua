--- Sockets with blocking calls: a coroutine that reads waits, the service goes on.
--
-- Each socket this service holds has a record in `socket_pool`. That of a connection is an object
-- of skynet/stream.c, which has the bytes that wait, knows who reads, and handles data as they
-- come; when they are more than a reader asked for and many, the socket is paused until somebody
-- reads again. That of a listener or a UDP socket is a table. What few sockets need is in tables
-- by id.
--
-- Fields of both: id, alive (usable). A connection's: opening, paused, unread, limit. A table's:
-- listener, waiting (coroutine that opens it), callback, ip, port, receive.

local driver = require "skynet.socketdriver"
local skynet = require "skynet"
local d = require "skynet.dispatch"

local running = coroutine.running
local wakeup, wait = skynet.wakeup, skynet.wait

---@class skynet.socket
local socket = {}

local onclose = {} -- id -> callback
local warnings = {} -- id -> callback
local failures = {} -- id -> why it isn't usable
local closers = {} -- id -> coroutines that wait in close

local stream

-- A service that ends leaves no descriptors behind, also when nobody closed them.
local socket_pool = setmetatable({}, {
	__gc = function(pool)
		for id, s in pairs(pool) do
			driver.close(id)
			stream.clear(s)
		end
	end,
})

stream = d.streams(socket_pool)

---------------------------------------------------------------------------------------------
-- Waiting

-- Who waits for this socket goes on.
local function release(s)
	if not stream.release(s) and s.waiting then
		local co = s.waiting
		s.waiting = nil
		wakeup(co)
	end
	local waiting = closers[s.id]
	if waiting then
		closers[s.id] = nil
		for _, co in ipairs(waiting) do
			wakeup(co)
		end
	end
end

local function forget(id)
	socket_pool[id] = nil
	warnings[id] = nil
	failures[id] = nil
end

---------------------------------------------------------------------------------------------
-- Events

local function on_data(id, size, block)
	if not stream.arrived(socket_pool[id], block, size) then
		driver.drop(block, size)
		skynet.error("socket: drop package from " .. id)
	end
end

local function on_connect(id, port, text)
	local s = socket_pool[id]
	-- a resumed socket reports again: it was alive all the time
	if s and not s.alive then
		s.alive = true
		if s.listener and not s.ip then
			s.ip, s.port = text, port
		end
		release(s)
	end
end

local function on_close(id)
	local s = socket_pool[id]
	if s then
		s.alive = false
		release(s)
	else
		driver.close(id) -- nobody here will
	end
	local notify = onclose[id]
	if notify then
		onclose[id] = nil
		notify(id)
	end
end

local function on_accept(id, newid, from)
	local s = socket_pool[id]
	if s and s.callback then
		s.callback(newid, from)
	else
		driver.close(newid)
	end
end

local function on_error(id, _, text)
	local s = socket_pool[id]
	if not s then
		driver.shutdown(id)
		skynet.error("socket: error on unknown", id, text)
	elseif s.listener and s.alive then
		skynet.error("socket: accept error:", text)
	else
		if s.alive then
			skynet.error("socket: error on", id, text)
		end
		s.alive, failures[id] = false, text
		driver.shutdown(id)
		release(s)
	end
end

local function on_datagram(id, size, block, from)
	local s = socket_pool[id]
	local data = skynet.tostring(block, size)
	driver.drop(block, size)
	if s and s.receive then
		s.receive(data, from)
	else
		skynet.error("socket: drop udp package from " .. id)
	end
end

local function on_warning(id, kilobytes)
	local warn = warnings[id]
	if warn then
		warn(id, kilobytes)
	elseif socket_pool[id] and kilobytes > 0 then
		skynet.error(("WARNING: %d K bytes need to send out (fd = %d)"):format(kilobytes, id))
	end
end

-- by event type; tools find the pool through these
local socket_message = {
	on_data, on_connect, on_close, on_accept, on_error, on_datagram, on_warning,
}

local function dispatch(_, _, event, ...)
	socket_message[event](...)
end

skynet.register_protocol {
	name = "socket",
	id = skynet.PTYPE_SOCKET,
	unpack = driver.unpack,
	dispatch = dispatch,
}

stream.stock(socket_message, on_data, driver.unpack, dispatch)

---------------------------------------------------------------------------------------------
-- Opening and taking over

local function hold(s)
	local id = s.id
	assert(socket_pool[id] == nil, "socket is not closed")
	assert(onclose[id] == nil, "socket has onclose callback")
	socket_pool[id] = s
	return s
end

local function failed(id)
	local why = failures[id]
	forget(id)
	return nil, why or "socket closed"
end

local function give_up_after(timeout, s)
	skynet.timeout(timeout, function()
		if s.opening then
			failures[s.id] = "Connection timed out"
			driver.shutdown(s.id)
			release(s)
		end
	end)
end

local function establish_listener(s, default)
	hold(s)
	s.waiting = running()
	wait()
	if s.alive then
		return s.id
	end
	failures[s.id] = failures[s.id] or default
	return failed(s.id)
end

--- Connect to a TCP server: socket.open(addr, port, timeout).
---   addr: host, or "host:port", "[v6]:port"
---   timeout: cs; default: as long as the system tries
---@type fun(addr: string, port: integer|nil, timeout: integer|nil): integer|nil, string|nil
---  id, or nil and why not
socket.open = stream.opener(function(addr, port, timeout)
	local id = driver.connect(addr, port)
	if id < 0 then
		return nil, "Invalid addr " .. addr
	end
	local s = hold(stream.new(id))
	if timeout then
		give_up_after(timeout, s)
	end
	return s
end, failed)

--- Adopt an OS descriptor; it isn't closed with the socket.
---@type fun(os_fd: integer): integer|nil, string|nil
---  id, or nil and why not
socket.bind = stream.opener(function(os_fd)
	return hold(stream.new(driver.bind(os_fd)))
end, failed)

--- Standard input as a socket.
---@return integer|nil id, string|nil err
function socket.stdin()
	return socket.bind(0)
end

--- Listen for TCP connections; accepting begins with socket.start(id, callback).
--- Raises `Listen error`.
---@param host string  "ip", or "ip:port"
---@param port integer|nil  0: the system chooses
---@param backlog integer|nil
---@return integer id, string ip, integer port
function socket.listen(host, port, backlog)
	local s = { id = driver.listen(host, port, backlog), alive = false, listener = true }
	local id, why = establish_listener(s, "Listen error")
	if not id then
		error(why)
	end
	return id, s.ip, s.port
end

--- Take over a socket, socket.start(id, func): a listener (then func(newid, "ip:port") is called for
--- each connection), or one that was accepted, or abandoned by another service.
--- Raises `socket is not closed` when this service reads it already.
---@type fun(id: integer, func: function|nil): integer|nil, string|nil
---  id, or nil and why not
socket.start = stream.opener(function(id, func)
	local s = socket_pool[id]
	if s and s.listener and not s.callback then
		s.callback = assert(func, "a listener needs a function to call")
		driver.start(id)
		return id
	end
	assert(s == nil, "socket is not closed")
	driver.start(id)
	if func then
		return establish_listener { id = id, alive = false, listener = true, ip = "", callback = func }
	end
	return hold(stream.new(id))
end, failed)

--- Forget a socket without closing it: another service takes over.
---@param id integer
function socket.abandon(id)
	local s = socket_pool[id]
	if s then
		s.alive = false
		release(s)
		stream.clear(s)
		onclose[id] = nil
		forget(id)
	end
end

---------------------------------------------------------------------------------------------
-- Reading

--- Read bytes. With sz: exactly that many; without: whatever is there, at least one.
---@type fun(id: integer, sz: integer|nil): string|false, string|nil
---  false and what was left when it was closed
socket.read = stream.read

--- Read up to a separator, which isn't returned; the default is "\n".
---@type fun(id: integer, sep: string|nil): string|false, string|nil
---  false and what was left when it was closed
socket.readline = stream.readline

--- Read everything until the peer closes.
---@type fun(id: integer): string|false
socket.readall = stream.readall

--- Wait until there's something to read, unless there is.
---@param id integer
---@return boolean  false when it was closed
function socket.block(id)
	return stream.block(socket_pool[id])
end

--- Stop reading from the network; the next blocking read goes on.
---@param id integer
function socket.pause(id)
	local s = socket_pool[id]
	if type(s) == "userdata" then
		stream.pause(s)
	elseif s and s.alive then
		skynet.error(("Pause socket (%d)"):format(id))
		driver.pause(id)
	end
end

---------------------------------------------------------------------------------------------
-- Writing

--- Write data: a string, a list of strings, or a block and its size (given away).
---@type fun(id: integer, data: string|table|lightuserdata, sz: integer|nil): boolean
socket.write = driver.send

--- Write with low priority: goes when nothing else waits.
---@type fun(id: integer, data: string|table|lightuserdata, sz: integer|nil): boolean
socket.lwrite = driver.lsend

--- Big-endian integer of 1 to 4 bytes.
---@type fun(s: string): integer
socket.header = driver.header

---------------------------------------------------------------------------------------------
-- Closing

--- Close, after everything written was sent. Waits for it, and for a reader to notice.
---@param id integer
function socket.close(id)
	local s = socket_pool[id]
	if not s then
		return
	end
	driver.close(id)
	if s.alive then
		closers[id] = closers[id] or {}
		table.insert(closers[id], (running()))
		wait()
	else
		release(s) -- who opens it learns that it's over
	end
	stream.clear(s)
	if socket_pool[id] == s then
		forget(id)
	end
end

--- Close at once, dropping what wasn't sent. Follow with close to forget the id.
---@param id integer
function socket.shutdown(id)
	if socket_pool[id] then
		driver.shutdown(id)
	end
end

--- Close a socket this service doesn't hold.
---@param id integer
function socket.close_fd(id)
	assert(socket_pool[id] == nil, "Use socket.close instead")
	driver.close(id)
end

---------------------------------------------------------------------------------------------
-- State and callbacks

--- Is the id not held by this service?
---@param id integer
---@return boolean
function socket.invalid(id)
	return not socket_pool[id]
end

--- Has the connection ended? nil when the id isn't held.
---@param id integer
---@return boolean|nil
function socket.disconnected(id)
	local s = socket_pool[id]
	if s then
		return not s.alive and not s.opening
	end
end

--- Close the socket when more than this many bytes wait unread.
---@param id integer
---@param limit integer  bytes
function socket.limit(id, limit)
	assert(socket_pool[id], "socket isn't held by this service").limit = limit
end

--- Close the socket, with an error, when more than this many bytes wait to be sent: its peer doesn't
--- read, or reads too slowly. Connections that a listener accepts have its limit. The default is the
--- configuration's `socket_sendlimit`.
---@param id integer
---@param limit integer  bytes; 0: no limit
function socket.sendlimit(id, limit)
	driver.sendlimit(id, limit)
end

--- Handle warnings about unsent data: callback(id, kilobytes), 0 when all was sent.
---@param id integer
---@param callback function
function socket.warning(id, callback)
	assert(socket_pool[id], "socket isn't held by this service")
	warnings[id] = callback
end

--- Be told, once, that the connection was closed: callback(id).
---@param id integer
---@param callback function
function socket.onclose(id, callback)
	onclose[id] = callback
end

---------------------------------------------------------------------------------------------
-- UDP

local function datagrams(id, callback)
	hold { id = id, alive = true, receive = callback }
	return id
end

--- A UDP socket; callback(data, from) gets each datagram.
---@param callback function
---@param host string|nil  address to bind
---@param port integer|nil
---@return integer id
function socket.udp(callback, host, port)
	return datagrams(driver.udp(host, port), callback)
end

--- A UDP socket bound to an address.
---@param addr string
---@param port integer
---@param callback function
---@return integer id
function socket.udp_listen(addr, port, callback)
	return datagrams(driver.udp_listen(addr, port), callback)
end

--- A UDP socket with a default target.
---@param addr string
---@param port integer
---@param callback function
---@return integer id
function socket.udp_dial(addr, port, callback)
	return datagrams(driver.udp_dial(addr, port), callback)
end

--- Set the default target: then socket.write works.
---@param id integer
---@param addr string
---@param port integer|nil
---@param callback function|nil
function socket.udp_connect(id, addr, port, callback)
	if not socket_pool[id] then
		datagrams(id, callback)
	elseif callback then
		socket_pool[id].receive = callback
	end
	driver.udp_connect(id, addr, port)
end

--- Send a datagram: sendto(id, from, data).
---@type fun(id: integer, from: string, data: string): boolean
socket.sendto = driver.udp_send

--- Text and port of a datagram's sender.
---@type fun(from: string): string, integer
socket.udp_address = driver.udp_address

--- What every socket of the node does: a list of tables.
---@type fun(): table[]
socket.netstat = driver.info

--- Addresses of a host name. Blocks the worker; skynet.dns doesn't.
---@type fun(host: string): string[]
socket.resolve = driver.resolve

return socket
