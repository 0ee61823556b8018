--- Read and write functions over a socket, that raise when it fails.
--
-- What they raise is one object, `socket_error`, so that callers can tell a lost connection from
-- any other error by comparing.

local deadline = require "http.deadline"
local socket = require "skynet.socket"
local source = require "http.source"

local LINGER = 100 -- centiseconds

---@class http.sockethelper
local sockethelper = {}

---@class http.socket_error
---@field err_info string|nil  what happened last; tostring takes it out
local socket_error = setmetatable({}, {
	__tostring = function(self)
		local info = self.err_info
		self.err_info = nil
		return info and "[Socket Error] : " .. info or "[Socket Error]"
	end,
	__call = function(self, info)
		self.err_info = info
		return self
	end,
})

--- The error that reading, writing and connecting raise; socket_error(info) sets its text.
---@type http.socket_error
sockethelper.socket_error = socket_error

local function fail(what, fd)
	error(socket_error(("%s failed fd = %s"):format(what, fd)))
end

-- Reads `pre` before anything from the socket.
local function read_after(fd, pre)
	return function(sz)
		if pre == nil then
			return socket.read(fd, sz) or fail("read", fd)
		end
		local have = pre
		if sz == nil or sz == #have then
			pre = nil
			return have
		elseif sz < #have then
			pre = have:sub(sz + 1)
			return have:sub(1, sz)
		end
		pre = nil
		return have .. (socket.read(fd, sz - #have) or fail("read", fd))
	end
end

--- A function that reads sz bytes, or without sz whatever is there.
---@param fd integer
---@param pre string|nil  bytes that were read already; they come first
---@return fun(sz: integer|nil): string
function sockethelper.readfunc(fd, pre)
	local read
	if pre and pre ~= "" then
		read = read_after(fd, pre)
	else
		local take = socket.read
		read = function(sz)
			return take(fd, sz) or fail("read", fd)
		end
	end
	source.attach(read, fd)
	return read
end

--- Everything until the peer closes.
---@param fd integer
---@return string|false
function sockethelper.readall(fd)
	return socket.readall(fd)
end

--- A function that writes a string.
---@param fd integer
---@return fun(content: string)
function sockethelper.writefunc(fd)
	local write = socket.write
	return function(content)
		if not write(fd, content) then
			fail("write", fd)
		end
	end
end

--- Connect. Raises socket_error with host, port, time-out and reason.
---@param host string
---@param port integer
---@param timeout integer|nil  centiseconds
---@return integer fd
function sockethelper.connect(host, port, timeout)
	local fd, err = socket.open(host, port, timeout)
	if fd then
		return fd
	end
	local late = timeout ~= nil and err == "Connection timed out"
	error(socket_error(("connect failed host = %s port = %s timeout = %s err = %s is_time_out = %s")
		:format(host, port, timeout, err, late)))
end

--- Let the peer take what was written before the socket is closed: discard what it still sends,
--- for a second at most. A socket that's closed with unread bytes resets the connection, and what
--- was written last, usually the reason, is lost on the way.
---@param fd integer
function sockethelper.linger(fd)
	deadline.set(fd, LINGER)
	repeat
		local bytes = not socket.invalid(fd) and socket.read(fd)
	until not bytes
	deadline.clear(fd)
end

--- Close, after what was written has been sent.
---@type fun(fd: integer)
sockethelper.close = socket.close

--- Close at once.
---@param fd integer
function sockethelper.shutdown(fd)
	socket.shutdown(fd)
end

return sockethelper
