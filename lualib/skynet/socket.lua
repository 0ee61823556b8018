--- Sockets with blocking calls: a coroutine that reads waits, the service goes on.
--
-- Each socket this service holds has a record in `socket_pool`. A record has one reader at most:
-- `reader` is its coroutine and `want` what it waits for, a predicate over the record. Bytes wait
-- in the record's buffer; when they are more than a reader asked for and many, the socket is
-- paused until somebody reads again.
--
-- Fields of a record: id, alive (usable), err (why it isn't), buffer, reader, want, greedy (the
-- reader takes any amount), paused, closer (coroutine in close), limit, warn, callback, receive.

local driver = require "skynet.socketdriver"
local skynet = require "skynet"

local running = coroutine.running
local push, pop = driver.push, driver.pop
local take_all, take_line = driver.readall, driver.readline
local wakeup, wait = skynet.wakeup, skynet.wait

local UNREAD_MAX = 128 * 1024 -- bytes

---@class skynet.socket
local socket = {}

local nodes = {} -- buffer nodes, shared by all records
local onclose = {} -- id -> callback

-- A service that ends leaves no descriptors behind, also when nobody closed them.
local socket_pool = setmetatable({}, {
	__gc = function(pool)
		for id in pairs(pool) do
			driver.close(id)
		end
	end,
})

---------------------------------------------------------------------------------------------
-- Waiting

local function release(s)
	local reader = s.reader
	if reader then
		s.reader, s.want = nil, nil
		wakeup(reader)
	end
end

-- Block until `want(s)` holds, or the socket isn't alive any more.
local function block_until(s, want, greedy)
	assert(s.reader == nil, "another coroutine reads this socket")
	s.reader, s.want, s.greedy = running(), want, greedy
	if s.paused then
		s.paused = nil
		skynet.error(("Resume socket (%d)"):format(s.id))
		driver.start(s.id)
	end
	wait(s.reader)
	if s.closer then
		wakeup(s.closer)
	end
end

local function pause(s, why)
	if s.paused or not s.alive then
		return
	end
	s.paused = true
	skynet.error(("Pause socket (%d)%s"):format(s.id, why))
	driver.pause(s.id)
end

---------------------------------------------------------------------------------------------
-- Events

local function on_data(id, size, block)
	local s = socket_pool[id]
	if not (s and s.buffer) then
		driver.drop(block, size)
		skynet.error("socket: drop package from " .. id)
		return
	end
	local unread = push(s.buffer, nodes, block, size)
	s.unread = unread
	local want = s.want
	if want and want(s) then
		release(s)
	elseif want and s.greedy then
		return -- whatever comes is waited for
	end
	if s.limit and unread > s.limit and not s.greedy then
		skynet.error(("socket buffer overflow: fd=%d size=%d"):format(id, unread))
		driver.close(id)
	elseif unread > UNREAD_MAX and not s.reader then
		pause(s, (" size : %d"):format(unread))
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
		s.alive, s.err = false, text
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
	local s = socket_pool[id]
	if s and s.warn then
		s.warn(id, kilobytes)
	elseif s and kilobytes > 0 then
		skynet.error(("WARNING: %d K bytes need to send out (fd = %d)"):format(kilobytes, id))
	end
end

-- by event type; tools find the pool through these
local socket_message = {
	on_data, on_connect, on_close, on_accept, on_error, on_datagram, on_warning,
}

skynet.register_protocol {
	name = "socket",
	id = skynet.PTYPE_SOCKET,
	unpack = driver.unpack,
	dispatch = function(_, _, event, ...)
		socket_message[event](...)
	end,
}

---------------------------------------------------------------------------------------------
-- Opening and taking over

local function hold(s)
	local id = s.id
	assert(socket_pool[id] == nil, "socket is not closed")
	assert(onclose[id] == nil, "socket has onclose callback")
	socket_pool[id] = s
	return s
end

local function never()
	return false
end

-- Hold the socket and wait until it's usable, at most `timeout` centiseconds.
local function establish(s, timeout)
	hold(s)
	s.opening = true
	if timeout then
		skynet.timeout(timeout, function()
			if s.opening then
				s.err = "Connection timed out"
				driver.shutdown(s.id)
				release(s)
			end
		end)
	end
	block_until(s, never, true)
	s.opening, s.greedy = nil, nil
	if s.alive then
		return s.id
	end
	socket_pool[s.id] = nil
	return nil, s.err or "socket closed"
end

local function stream(id)
	return { id = id, alive = false, buffer = driver.buffer(), unread = 0 }
end

--- Connect to a TCP server.
---@param addr string  host, or "host:port", "[v6]:port"
---@param port integer|nil
---@param timeout integer|nil  cs; default: as long as the system tries
---@return integer|nil id, string|nil err
function socket.open(addr, port, timeout)
	local id = driver.connect(addr, port)
	if id < 0 then
		return nil, "Invalid addr " .. addr
	end
	return establish(stream(id), timeout)
end

--- Adopt an OS descriptor; it isn't closed with the socket.
---@param os_fd integer
---@return integer|nil id, string|nil err
function socket.bind(os_fd)
	return establish(stream(driver.bind(os_fd)))
end

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
	hold(s)
	block_until(s, never, true)
	if not s.alive then
		socket_pool[s.id] = nil
		error(s.err or "Listen error")
	end
	return s.id, s.ip, s.port
end

--- Take over a socket: a listener (then func(newid, "ip:port") is called for each connection),
--- or one that was accepted, or abandoned by another service.
--- Raises `socket is not closed` when this service reads it already.
---@param id integer
---@param func function|nil
---@return integer|nil id, string|nil err
function socket.start(id, func)
	local s = socket_pool[id]
	if s and s.listener and not s.callback then
		s.callback = assert(func, "a listener needs a function to call")
		driver.start(id)
		return id
	end
	assert(s == nil, "socket is not closed")
	driver.start(id)
	if func then
		return establish { id = id, alive = false, listener = true, ip = "", callback = func }
	end
	return establish(stream(id))
end

--- Forget a socket without closing it: another service takes over.
---@param id integer
function socket.abandon(id)
	local s = socket_pool[id]
	if s then
		s.alive = false
		release(s)
		if s.buffer then
			driver.clear(s.buffer, nodes)
		end
		onclose[id] = nil
		socket_pool[id] = nil
	end
end

---------------------------------------------------------------------------------------------
-- Reading

local function holder(id)
	return assert(socket_pool[id], "socket isn't held by this service")
end

-- What is left when the peer has closed.
local function rest(s)
	s.unread = 0
	return false, take_all(s.buffer, nodes)
end

local function any_bytes(s)
	return s.unread > 0
end

local function enough_bytes(s)
	return s.unread >= s.count
end

local function whole_line(s)
	return take_line(s.buffer, nil, s.separator)
end

local function read_some(s)
	local data = take_all(s.buffer, nodes)
	if data == "" and s.alive then
		block_until(s, any_bytes, true)
		data = take_all(s.buffer, nodes)
	end
	s.unread = 0
	if data == "" then
		return false, data
	end
	return data
end

--- Read bytes. With sz: exactly that many; without: whatever is there, at least one.
---@param id integer
---@param sz integer|nil
---@return string|false data, string|nil left  false and what was left when it was closed
function socket.read(id, sz)
	local s = holder(id)
	if sz == nil then
		return read_some(s)
	elseif sz == 0 then
		return ""
	end
	local data, left = pop(s.buffer, nodes, sz)
	if not data and s.alive then
		s.count = sz
		block_until(s, enough_bytes, true)
		data, left = pop(s.buffer, nodes, sz)
	end
	s.unread = left
	if data then
		return data
	end
	return rest(s)
end

--- Read up to a separator, which isn't returned.
---@param id integer
---@param sep string|nil  default "\n"
---@return string|false line, string|nil left  false and what was left when it was closed
function socket.readline(id, sep)
	local s = holder(id)
	sep = sep or "\n"
	local line = take_line(s.buffer, nodes, sep)
	if not line and s.alive then
		s.separator = sep
		block_until(s, whole_line, false)
		line = take_line(s.buffer, nodes, sep)
	end
	if line then
		s.unread = s.unread - #line - #sep
		return line
	end
	return rest(s)
end

--- Read everything until the peer closes.
---@param id integer
---@return string|false
function socket.readall(id)
	local s = holder(id)
	if s.alive then
		block_until(s, never, true)
	end
	local data = take_all(s.buffer, nodes)
	s.unread = 0
	return data ~= "" and data
end

--- Wait until there's something to read, unless there is.
---@param id integer
---@return boolean  false when it was closed
function socket.block(id)
	local s = socket_pool[id]
	if not (s and s.alive) then
		return false
	end
	if s.unread == 0 then
		block_until(s, any_bytes, true)
	end
	return s.alive
end

--- Stop reading from the network; the next blocking read goes on.
---@param id integer
function socket.pause(id)
	local s = socket_pool[id]
	if s then
		pause(s, "")
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
		s.paused = nil -- reading is over: nothing to resume
		if s.reader then
			s.closer = running()
			wait(s.closer)
		else
			block_until(s, never, true)
		end
	end
	if s.buffer then
		driver.clear(s.buffer, nodes)
	end
	if socket_pool[id] == s then
		socket_pool[id] = nil
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
	holder(id).limit = limit
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
	holder(id).warn = callback
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
