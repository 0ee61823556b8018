--- Answers of a MySQL server as Lua tables: OK, errors, rows of both protocols, lists of results.
--
-- The functions read from a `sock` object (see skynet.db.mysql.packet). Rows of the text protocol
-- have every value as text, those of the binary one (prepared statements) have the bytes of their
-- type; both give the same Lua values, but for DOUBLE, and BIGINT UNSIGNED above 2^63-1: as text
-- that's a float, in binary it keeps its bits and so is negative.

local packet = require "skynet.db.mysql.packet"

local byte, sub = string.byte, string.sub
local unpack = packet.unpack
local read_packet, read_string, read_integer = packet.read, packet.string, packet.integer
local tonumber = tonumber

local MORE_RESULTS = 8 -- flag of the server status
local COLUMNS_MAX = 65535
local RESULT, COLUMN, VALUE = 512, 256, 40 -- bytes that one costs at least

local UNSIGNED, BINARY_CHARSET = 0x20, 63

local result = {}

---------------------------------------------------------------------------------------------
-- OK, errors, ends

--- The table for a server's error.
---@param payload string
---@return table  { badresult = true, errno =, err =, sqlstate = }
function result.error(payload)
	local errno = unpack("<I2", payload, 2)
	local pos, state = 4, nil
	if byte(payload, 4) == 35 then -- "#"
		state, pos = sub(payload, 5, 9), 10
	end
	return { badresult = true, errno = errno, err = sub(payload, pos), sqlstate = state }
end

-- Some text at the end of an OK packet; with or without its length.
local function read_message(payload, pos)
	local n = byte(payload, pos)
	if not n then
		return nil
	elseif n < 251 and pos + n == #payload then
		pos = pos + 1
	elseif n == 0xfc then
		pos = pos + 3
	end
	local text = sub(payload, pos)
	return text ~= "" and text or nil
end

--- The table for an OK packet, and the server's status.
---@param payload string
---@return table  { affected_rows =, insert_id =, server_status =, warning_count =, message = }
---@return integer status
function result.ok(payload)
	local affected, pos = read_integer(payload, 2)
	local insert_id
	insert_id, pos = read_integer(payload, pos)
	local status, warnings = unpack("<I2I2", payload, pos)
	return {
		affected_rows = affected,
		insert_id = insert_id,
		server_status = status,
		warning_count = warnings,
		message = read_message(payload, pos + 4),
	}, status
end

--- Is this the packet after the last column or row?
---@param payload string
---@return boolean
function result.is_end(payload)
	return byte(payload) == 0xfe and #payload < 9
end

local function status_of_end(payload)
	return #payload >= 5 and unpack("<I2", payload, 4) or 0
end

---------------------------------------------------------------------------------------------
-- Columns

local TYPE = {
	decimal = 0, tiny = 1, short = 2, long = 3, float = 4, double = 5, null = 6, timestamp = 7,
	longlong = 8, int24 = 9, date = 10, time = 11, datetime = 12, year = 13, newdecimal = 246,
}

-- types whose text is a number
local numeric = {}
for _, name in ipairs { "decimal", "tiny", "short", "long", "float", "double", "longlong",
	"int24", "year", "newdecimal" } do
	numeric[TYPE[name]] = true
end

--- Read the definitions of n columns, and the end after them.
---@param sock table
---@param n integer
---@return table[]  { name =, type =, is_signed = true, decimals = }
function result.columns(sock, n)
	if n < 0 or n > COLUMNS_MAX then
		packet.broken "too many columns"
	end
	packet.spend(sock, n * COLUMN)
	local columns = {}
	for i = 1, n do
		local payload, pos, names = read_packet(sock), 1, {}
		for j = 1, 6 do -- catalog, schema, table, its real name, column, its real name
			names[j], pos = read_string(payload, pos)
		end
		local charset, _, kind, flags, decimals = unpack("<I2I4BI2B", payload, pos + 1)
		columns[i] = {
			name = names[5] or "",
			type = kind,
			is_signed = flags & UNSIGNED == 0 or nil,
			decimals = decimals,
			binary = charset == BINARY_CHARSET or nil,
		}
	end
	if n > 0 and not result.is_end(read_packet(sock)) then
		packet.broken "more columns than it said"
	end
	return columns
end

---------------------------------------------------------------------------------------------
-- Rows

-- One row of text. `keys[i]`: where the value of column i goes.
local function text_row(payload, columns, keys)
	local row, pos = {}, 1
	for i = 1, #columns do
		local value
		value, pos = read_string(payload, pos)
		if value then
			if numeric[columns[i].type] then
				value = tonumber(value)
			end
			row[keys[i]] = value
		end
	end
	return row
end

local function fixed(signed, unsigned)
	local size = string.packsize(signed)
	return function(payload, pos, column)
		if pos + size - 1 > #payload then
			packet.broken "a packet that ends too early"
		end
		return string.unpack(column.is_signed and signed or unsigned, payload, pos)
	end
end

local function number_of_text(payload, pos)
	local text, after = read_string(payload, pos)
	return tonumber(text), after
end

local function fraction(micros, decimals)
	if decimals < 1 or decimals > 6 then
		return micros > 0 and (".%06d"):format(micros) or ""
	end
	return (".%06d"):format(micros):sub(1, decimals + 1)
end

-- The bytes of a date or time, padded with zeros to the longest form.
local function padded(payload, pos, longest)
	local bytes, after = read_string(payload, pos)
	if not bytes or #bytes > longest then
		packet.broken "a date of no known size"
	end
	return bytes .. ("\0"):rep(longest - #bytes), after
end

local function date(payload, pos)
	local bytes, after = padded(payload, pos, 11)
	return ("%04d-%02d-%02d"):format(unpack("<I2BB", bytes)), after
end

local function datetime(payload, pos, column)
	local bytes, after = padded(payload, pos, 11)
	local year, month, day, hour, minute, second, micros = unpack("<I2BBBBBI4", bytes)
	return ("%04d-%02d-%02d %02d:%02d:%02d%s"):format(year, month, day, hour, minute, second,
		fraction(micros, column.decimals)), after
end

local function time(payload, pos, column)
	local bytes, after = padded(payload, pos, 12)
	local negative, days, hour, minute, second, micros = unpack("<BI4BBBI4", bytes)
	return ("%s%02d:%02d:%02d%s"):format(negative ~= 0 and "-" or "", days * 24 + hour, minute,
		second, fraction(micros, column.decimals)), after
end

-- type -> f(payload, pos, column) -> value, next; others are strings
local decoders = {
	[TYPE.decimal] = number_of_text,
	[TYPE.newdecimal] = number_of_text,
	[TYPE.tiny] = fixed("<i1", "<I1"),
	[TYPE.short] = fixed("<i2", "<I2"),
	[TYPE.year] = fixed("<I2", "<I2"),
	[TYPE.int24] = fixed("<i4", "<I4"),
	[TYPE.long] = fixed("<i4", "<I4"),
	[TYPE.longlong] = fixed("<i8", "<i8"),
	[TYPE.float] = fixed("<f", "<f"),
	[TYPE.double] = fixed("<d", "<d"),
	[TYPE.null] = function(_, pos)
		return nil, pos
	end,
	[TYPE.timestamp] = datetime,
	[TYPE.datetime] = datetime,
	[TYPE.date] = date,
	[TYPE.time] = time,
}

local function binary_row(payload, columns, keys)
	local row, count = {}, #columns
	local pos = 2 + (count + 9) // 8 -- after a zero and a bit for each NULL
	if byte(payload) ~= 0 or #payload < pos - 1 then
		packet.broken "a row that is none"
	end
	for i = 1, count do
		local bit = i + 1 -- the first two mean nothing
		if byte(payload, 2 + bit // 8) >> bit % 8 & 1 == 0 then
			local column = columns[i]
			row[keys[i]], pos = (decoders[column.type] or read_string)(payload, pos, column)
		end
	end
	return row
end

-- Rows up to their end. The list and the status, or the server's error.
local function read_rows(sock, columns, decode, compact)
	local keys = {}
	for i, column in ipairs(columns) do
		keys[i] = compact and i or column.name
	end
	local rows, n, cost = {}, 0, #columns * VALUE
	while true do
		local payload = read_packet(sock)
		local first = byte(payload)
		if first == 0xfe and #payload < 9 then
			return rows, status_of_end(payload)
		elseif first == 0xff then
			return result.error(payload), 0
		elseif not first then
			packet.broken "an empty packet"
		end
		packet.spend(sock, cost)
		n = n + 1
		rows[n] = decode(payload, columns, keys)
	end
end

---------------------------------------------------------------------------------------------
-- Whole answers

local function read_one(sock, decode, compact)
	packet.spend(sock, RESULT)
	local payload = read_packet(sock)
	local first = byte(payload)
	if first == 0 then
		return result.ok(payload)
	elseif first == 0xff then
		return result.error(payload), 0
	elseif not first then
		packet.broken "an empty packet"
	elseif first == 0xfb then
		packet.broken "a request for a local file, which is refused"
	elseif first == 0xfe and #payload < 9 then
		packet.broken "an end where a result begins"
	end
	local columns = result.columns(sock, (read_integer(payload, 1)))
	return read_rows(sock, columns, decode, compact)
end

-- All results of a request: one, or a list of them.
local function read_all(sock, decode, compact)
	local one, status = read_one(sock, decode, compact)
	if status & MORE_RESULTS == 0 then
		return one
	end
	-- users of prepared statements know the second spelling
	local list = { one, multiresultset = true, mulitresultset = true }
	repeat
		one, status = read_one(sock, decode, compact)
		if one.badresult then
			list.badresult, list.err, list.errno, list.sqlstate = true, one.err, one.errno, one.sqlstate
		else
			list[#list + 1] = one
		end
	until status & MORE_RESULTS == 0
	return list
end

--- Read the answer to a query.
---@param sock table
---@param compact boolean|nil  rows are lists instead of { column = value }
---@return table
function result.read_text(sock, compact)
	return read_all(sock, text_row, compact)
end

--- Read the answer to the execution of a statement.
---@param sock table
---@param compact boolean|nil
---@return table
function result.read_binary(sock, compact)
	return read_all(sock, binary_row, compact)
end

--- Read an answer that has no rows: the OK or error table.
---@param sock table
---@return table
function result.read_status(sock)
	local payload = read_packet(sock)
	local first = byte(payload)
	if first == 0 or first == 0xfe then
		return (result.ok(payload))
	elseif first == 0xff then
		return result.error(payload)
	end
	packet.broken "a packet that is no answer"
end

return result
