--- Packets of the MySQL protocol: three bytes of size, a sequence number, a payload. Payloads of
--- 16 MiB and more are cut into several packets.
--
-- Reading keeps two fields in the `sock` object (see skynet.db.stream): `sequence`, the number the
-- next packet must have, and `budget`, the bytes that the rest of this answer may take. Whatever
-- breaks the protocol raises a text, and the channel closes the connection.

local stream = require "skynet.db.stream"

local byte, sub, unpack = string.byte, string.sub, string.unpack
local read_bytes = stream.read

local PART = 0xffffff -- bytes of the largest payload of one packet
local OVERHEAD = 64 -- bytes that a packet costs at least

local packet = {}

--- Bytes that one answer may take, when the user didn't say.
packet.REPLY_MAX = 1024 * 1024 * 1024

---@param what string
function packet.broken(what)
	error("mysql: the server sent " .. what, 0)
end

--- An answer begins: its first packet has this number.
---@param sock table
---@param sequence integer
---@param max integer|nil  bytes
function packet.begin(sock, sequence, max)
	sock.sequence, sock.budget = sequence & 0xff, max or packet.REPLY_MAX
end

--- Count bytes against what the answer may take.
---@param sock table
---@param cost integer
function packet.spend(sock, cost)
	sock.budget = sock.budget - cost
	if sock.budget < 0 then
		error("mysql: the server's answer is too big (see the option max_reply)", 0)
	end
end

local function read_part(sock)
	local buffer, pos = sock.buffer, sock.pos
	local size, number
	if buffer and #buffer - pos >= 3 then
		size, number = unpack("<I3B", buffer, pos)
		sock.pos = pos + 4
	else
		size, number = unpack("<I3B", read_bytes(sock, 4))
	end
	packet.spend(sock, size + OVERHEAD)
	local part = size > 0 and read_bytes(sock, size) or ""
	-- a server that gives up on a long request doesn't count any more
	if number ~= sock.sequence and byte(part) ~= 0xff then
		packet.broken "packets out of order"
	end
	sock.sequence = (number + 1) & 0xff
	return part, size
end

--- Read one payload.
---@param sock table
---@return string
function packet.read(sock)
	local part, size = read_part(sock)
	if size < PART then
		return part
	end
	local parts = { part }
	repeat
		parts[#parts + 1], size = read_part(sock)
	until size < PART
	return table.concat(parts)
end

--- The packets of a payload; the first gets the number `sequence`.
---@param payload string
---@param sequence integer
---@return string|string[] data   for a socket to send
---@return integer next  the number after the last one
function packet.compose(payload, sequence)
	local size = #payload
	if size < PART then
		return string.pack("<I3B", size, sequence & 0xff) .. payload, sequence + 1
	end
	local parts = {}
	for pos = 1, size + 1, PART do
		local part = sub(payload, pos, pos + PART - 1)
		parts[#parts + 1] = string.pack("<I3B", #part, sequence & 0xff)
		parts[#parts + 1] = part
		sequence = sequence + 1
	end
	return parts, sequence
end

--- Send a payload from within a response function.
---@param sock table
---@param payload string
function packet.write(sock, payload)
	local data
	data, sock.sequence = packet.compose(payload, sock.sequence)
	stream.write(sock, type(data) == "table" and table.concat(data) or data)
end

---------------------------------------------------------------------------------------------
-- Values of variable length

local NULL = 0xfb

--- A number of 1 to 9 bytes. nil: NULL.
---@param s string
---@param pos integer
---@return integer|nil value, integer next
function packet.integer(s, pos)
	local first = byte(s, pos)
	if not first then
		packet.broken "a packet that ends too early"
	elseif first < NULL then
		return first, pos + 1
	elseif first == NULL then
		return nil, pos + 1
	end
	local size = first == 0xfc and 2 or first == 0xfd and 3 or first == 0xfe and 8
	if not size then
		packet.broken "a length of no known size"
	elseif #s < pos + size then
		packet.broken "a packet that ends too early"
	end
	return unpack("<I" .. size, s, pos + 1)
end

--- A string preceded by its length. nil: NULL.
---@param s string
---@param pos integer
---@return string|nil value, integer next
function packet.string(s, pos)
	local size = byte(s, pos)
	if size and size < NULL then
		pos = pos + 1
	else
		size, pos = packet.integer(s, pos)
		if not size then
			return nil, pos
		end
	end
	if size < 0 or size > #s - pos + 1 then
		packet.broken "a packet that ends too early"
	end
	return sub(s, pos, pos + size - 1), pos + size
end

--- The inverse of packet.string.
---@param s string
---@return string
function packet.pack_string(s)
	local size = #s
	if size < NULL then
		return string.pack("s1", s)
	elseif size <= 0xffff then
		return string.pack("<Bs2", 0xfc, s)
	elseif size <= 0xffffff then
		return string.pack("<Bs3", 0xfd, s)
	end
	return string.pack("<Bs8", 0xfe, s)
end

--- unpack of untrusted bytes: what doesn't fit breaks the protocol.
---@param format string
---@param s string
---@param pos integer|nil
---@return any ...
function packet.unpack(format, s, pos)
	if #s - (pos or 1) + 1 < string.packsize(format) then
		packet.broken "a packet that ends too early"
	end
	return unpack(format, s, pos)
end

return packet
