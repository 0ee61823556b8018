--- Reading HTTP messages from a read function: heads, and bodies in every framing.
--
-- A read function (see http.sockethelper) returns whatever has arrived, so reading a message may
-- take bytes of the next one, too. They are kept here, by read function, until that is asked for
-- a message again: keep-alive and pipelining need no more than using one function for one
-- connection. Nothing here knows sockets; what belongs to a read function is told by `attach`.
--
-- Sizes are checked before memory is taken for them. Failures of the read function pass through;
-- bad input is an answer.

local pile = require "http.pile"

local byte, sub = string.byte, string.sub

---@class http.source
local source = {}

local CHUNK_LINE_MAX = 128 -- bytes of a chunk's size line
local TRAILER_MAX = 8192 -- bytes of all trailer lines
local PIECE_MAX = 1 << 20 -- bytes of a chunk that are handed out at once
local EMPTY_MAX = 1000 -- reads in a row that bring nothing

-- by read function
local rest = setmetatable({}, { __mode = "k" })
local sockets = setmetatable({}, { __mode = "k" })
local writers = setmetatable({}, { __mode = "k" })

--- Say which socket a read function reads, and what writes to its peer.
---@param read function
---@param fd integer
---@param write fun(bytes: string)|nil  default: plain writing to the socket
function source.attach(read, fd, write)
	sockets[read] = fd
	writers[read] = write
end

--- The socket of a read function, and what writes to its peer, if that was told.
---@param read function
---@return integer|nil fd
---@return function|nil write
function source.ends(read)
	return sockets[read], writers[read]
end

--- Take the bytes that were read too far, or nil.
---@param read function
---@return string|nil
function source.take(read)
	local bytes = rest[read]
	if bytes then
		rest[read] = nil
	end
	return bytes
end

--- Take the bytes that any function has read too far from a socket, or nil.
---@param fd integer
---@return string|nil
function source.take_from(fd)
	for read, bytes in pairs(rest) do
		if sockets[read] == fd then
			rest[read] = nil
			return bytes
		end
	end
end

--- Keep bytes that were read too far.
---@param read function
---@param bytes string
function source.keep(read, bytes)
	rest[read] = bytes ~= "" and bytes or nil
end

-- At least one byte.
local function some(read)
	for _ = 1, EMPTY_MAX do
		local bytes = read()
		if bytes ~= "" then
			return bytes or error "the read function returned nothing"
		end
	end
	error "the peer sends nothing but empty records"
end

---------------------------------------------------------------------------------------------
-- Heads

local function whole_head(read, parse, limit, data, size, ...)
	if size == nil then
		data = data .. some(read)
		return whole_head(read, parse, limit, data, parse(data, limit))
	end
	if size then
		rest[read] = #data > size and sub(data, size + 1) or nil
	end
	return size, ...
end

--- Read a head and parse it; what follows it is kept.
---@param read function
---@param parse function  core.request or core.response
---@param limit integer  bytes
---@param data string|nil  its begin, default: read
---@return integer|false size
---@return ...  what parse returns
function source.head(read, parse, limit, data)
	data = data or source.take(read) or some(read)
	return whole_head(read, parse, limit, data, parse(data, limit))
end

---------------------------------------------------------------------------------------------
-- Bodies

---@class http.body
---@field framing integer|"chunked"|"close"
---@field trailer string[]|nil  lines, when a chunked body has ended
local body = {}
body.__index = body

--- A body that is about to be read.
---@param read function
---@param framing integer|"chunked"|"close"  a length in bytes; or until the peer closes
---@param early string|nil  bytes read already
---@param progress fun(bytes: integer)|nil  called for whatever arrives
---@return http.body
function source.body(read, framing, early, progress)
	return setmetatable({
		read = read,
		framing = framing,
		buf = early or source.take(read) or "",
		at = 1, -- of the first unused byte in buf
		left = framing == "chunked" and 0 or framing, -- of the body, or of the chunk
		room = math.huge, -- a chunk that's larger isn't read
		progress = progress,
	}, body)
end

-- Have more bytes in the buffer.
function body:fill()
	local bytes = some(self.read)
	if self.progress then
		self.progress(#bytes)
	end
	self.buf = self.at > #self.buf and bytes or sub(self.buf, self.at) .. bytes
	self.at = 1
end

-- Up to n bytes of what is there, at least one.
function body:part(n)
	if self.at > #self.buf then
		self:fill()
	end
	local at = self.at
	local bytes = sub(self.buf, at, at + n - 1)
	self.at = at + #bytes
	return bytes
end

-- Exactly n bytes.
function body:exactly(n)
	local bytes = self:part(n)
	if #bytes == n then
		return bytes
	end
	local all, got = pile.new(), #bytes
	all:add(bytes)
	while got < n do
		bytes = self:part(n - got)
		all:add(bytes)
		got = got + #bytes
	end
	return all:join()
end

-- A line without its CRLF; nil when it's too long, or holds a bare CR or LF.
function body:line(max)
	while true do
		local lf = self.buf:find("\n", self.at, true)
		if (lf or #self.buf + 1) - self.at > max then
			return nil
		end
		if lf then
			local line = sub(self.buf, self.at, lf - 2)
			local cr = byte(self.buf, lf - 1) == 13 and lf > self.at
			self.at = lf + 1
			return cr and not line:find("\r", 1, true) and line or nil
		end
		self:fill()
	end
end

-- The lines after the last chunk; false when they are malformed.
function body:read_trailer()
	local lines, size = {}, 0
	while true do
		local line = self:line(TRAILER_MAX - size)
		if line == "" then
			self.trailer = lines
			return true
		elseif line == nil or not line:find "^[%w!#$%%&'*+.^_`|~-]+:[^%c]*$" then
			return false
		end
		size = size + #line + 2
		lines[#lines + 1] = line
	end
end

-- Begin the next chunk; returns its size, or nil when its line is malformed.
function body:chunk_size()
	local line = self:line(CHUNK_LINE_MAX)
	local hex, extension = (line or ""):match "^(%x+)[ \t]*(.*)$"
	if not hex or #hex > 13 or not extension:find "^;?[^%c]*$" then
		return nil
	elseif extension ~= "" and byte(extension) ~= 59 then
		return nil
	end
	return tonumber(hex, 16)
end

function body:next_chunk()
	if self.left == 0 then
		local size = self:chunk_size()
		if not size or size > self.room then
			return false
		elseif size == 0 then
			self.ended = true
			if self:read_trailer() then
				return nil
			end
			return false
		end
		self.left = size
	end
	local n = self.left < PIECE_MAX and self.left or PIECE_MAX
	local bytes = self:exactly(n)
	self.left = self.left - n
	if self.left == 0 and self:exactly(2) ~= "\r\n" then
		return false
	end
	return bytes
end

--- The next piece of the body. Raises what the read function raises.
---@return string|nil|false  nil at the end, false when the body is malformed
function body:next()
	if self.ended then
		return nil
	end
	local framing = self.framing
	if framing == "chunked" then
		return self:next_chunk()
	elseif framing == "close" then
		local ok, bytes = pcall(self.part, self, PIECE_MAX)
		if ok then
			return bytes
		end
		self.ended = true
		return nil
	elseif self.left == 0 then
		self.ended = true
		return nil
	end
	local bytes = self:part(self.left)
	self.left = self.left - #bytes
	return bytes
end

--- Read all that's left of it.
---@param limit integer  bytes
---@return string|nil bytes  nil when it's malformed, or larger than the limit
function body:all(limit)
	if self.framing ~= "chunked" and self.framing ~= "close" then
		return self.left <= limit and self:exactly_all() or nil
	end
	local all, size = pile.new(), 0
	while true do
		self.room = limit - size
		local bytes = self:next()
		if not bytes then
			return bytes == nil and all:join() or nil
		end
		size = size + #bytes
		if size > limit then
			return nil
		end
		all:add(bytes)
	end
end

function body:exactly_all()
	local n = self.left
	self.left, self.ended = 0, true
	return n == 0 and "" or self:exactly(n)
end

--- Everything was read: what came behind it waits for the next message.
function body:finish()
	source.keep(self.read, sub(self.buf, self.at))
end

return source
