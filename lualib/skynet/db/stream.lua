--- How database drivers read from and write to their connection: buffered, bounded, plain or TLS.
--
-- The functions take the `sock` object that a socketchannel hands to response functions, and keep
-- what they need in it: `buffer` and `pos` (bytes received and not consumed yet), and `fill` and
-- `write` once TLS is on. Bytes are taken from the socket as they come, so that many small
-- answers cost one call into the socket library; long ones are read by their exact size.
--
-- What a server sends is bounded by the callers: a line by LINE_MAX, a block by the size they
-- ask for. All functions raise socketchannel.error when the connection ends.

local socket = require "skynet.socket"
local socketchannel = require "skynet.socketchannel"

local byte, find, sub = string.byte, string.find, string.sub
local socket_error = socketchannel.error

local LINE_MAX = 64 * 1024 -- bytes

local stream = {}

-- Some more bytes from the server.
local function more(sock)
	local fill = sock.fill
	return fill and fill() or not fill and socket.read(sock[1]) or error(socket_error, 0)
end

-- Exactly n bytes from the server; the buffer is empty.
local function exactly(sock, n)
	if not sock.fill then
		return socket.read(sock[1], n) or error(socket_error, 0)
	end
	local parts, size = {}, 0
	while size < n do
		local data = more(sock)
		parts[#parts + 1] = data
		size = size + #data
	end
	local all = table.concat(parts)
	sock.buffer, sock.pos = sub(all, n + 1), 1
	return sub(all, 1, n)
end

--- The next line, without its end.
---@param sock table
---@return string
function stream.line(sock)
	local buffer, pos = sock.buffer or "", sock.pos or 1
	local stop = find(buffer, "\r\n", pos, true)
	while not stop do
		local left = #buffer - pos + 1
		if left > LINE_MAX then
			error(("the server sent a line of more than %d bytes"):format(LINE_MAX), 0)
		end
		buffer, pos = sub(buffer, pos) .. more(sock), 1
		-- the last byte seen may be the first half of the end
		stop = find(buffer, "\r\n", left > 0 and left or 1, true)
	end
	sock.buffer, sock.pos = buffer, stop + 2
	return sub(buffer, pos, stop - 1)
end

--- Exactly n bytes. The caller has checked that n is reasonable.
---@param sock table
---@param n integer
---@return string
function stream.read(sock, n)
	local buffer, pos = sock.buffer or "", sock.pos or 1
	local left = #buffer - pos + 1
	if left >= n then
		sock.pos = pos + n
		return sub(buffer, pos, pos + n - 1)
	end
	sock.buffer, sock.pos = "", 1
	if left == 0 then
		if n > LINE_MAX then
			return exactly(sock, n)
		end
		sock.buffer = more(sock)
		return stream.read(sock, n)
	end
	return sub(buffer, pos) .. exactly(sock, n - left)
end

--- The next byte, which stays, if it was received already.
---@param sock table
---@return integer|nil
function stream.peek(sock)
	return byte(sock.buffer or "", sock.pos or 1)
end

--- The next byte, which stays.
---@param sock table
---@return integer
function stream.next(sock)
	local b = stream.peek(sock)
	if not b then
		sock.buffer, sock.pos = more(sock), 1
		b = stream.next(sock)
	end
	return b
end

--- Send bytes from within a response function.
---@param sock table
---@param data string
function stream.write(sock, data)
	local ok
	if sock.write then
		ok = sock:write(data)
	else
		ok = socket.write(sock[1], data)
	end
	if not ok then
		error(socket_error, 0)
	end
end

---------------------------------------------------------------------------------------------
-- TLS

---@class skynet.db.stream.tls
---@field verify boolean|nil    false: any certificate will do (default: it's checked)
---@field cafile string|nil     PEM: authorities to trust (default: the system's)
---@field capath string|nil     a folder of them
---@field certfile string|nil   PEM: our own certificate, for servers that ask for one
---@field keyfile string|nil
---@field hostname string|nil   what the certificate must be for (default: the host)

local contexts = setmetatable({}, { __mode = "k" }) -- options -> context

local function context_of(tlshelper, options)
	local ctx = contexts[options]
	if not ctx then
		ctx = tlshelper.newctx()
		if options.verify ~= false then
			ctx:set_verify(options.cafile, options.capath)
		end
		if options.certfile then
			ctx:set_cert(options.certfile, options.keyfile)
		end
		contexts[options] = ctx
	end
	return ctx
end

-- Errors of the TLS library are texts; a lost connection is one object for all who use channels.
local function channel_error(err)
	return type(err) == "string" and err or socket_error
end

local defaults = {}

--- Begin TLS on a connection, as its client: from now on everything goes through it.
--- Needs `enablessl = true` in the config. Raises what the handshake fails with.
---@param sock table
---@param options boolean|skynet.db.stream.tls  true: the defaults
---@param host string
function stream.secure(sock, options, host)
	local tlshelper = require "http.tlshelper"
	options = options == true and defaults or options
	local id = sock[1]
	if stream.peek(sock) then
		error("the server sent more than it may before TLS", 0)
	end
	local tls = tlshelper.newtls("client", context_of(tlshelper, options), options.hostname or host)
	local ok, err = pcall(tlshelper.init_requestfunc(id, tls))
	if not ok then
		error(channel_error(err), 0)
	end
	local read, write = tlshelper.readfunc(id, tls), tlshelper.writefunc(id, tls)
	sock.fill = function()
		local fine, data = pcall(read)
		return fine and data or error(channel_error(data), 0)
	end
	sock.write = function(_, data)
		return (pcall(write, data))
	end
end

return stream
