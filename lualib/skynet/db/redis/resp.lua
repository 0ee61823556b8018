--- The Redis protocol, both versions: requests as bytes, replies as Lua values.
--
-- A reply is read from a `sock` (see skynet.db.stream). Nothing in it is trusted: lengths are
-- checked before anything is read, elements count against a budget, nesting is limited. What
-- breaks the protocol raises a text, and the channel closes the connection.
--
-- Version 2                       Version 3 adds
--   +status -error :integer         _ null  #t boolean  ,double  (big number  !error  =verbatim
--   $bulk *array                    %map  ~set (a list)  |attributes (dropped)  >push

local stream = require "skynet.db.stream"

local byte, sub, find = string.byte, string.sub, string.find
local mathtointeger, mathtype, tonumber, tostring, type =
	math.tointeger, math.type, tonumber, tostring, type
local read_line, read_bytes = stream.line, stream.read

local DEPTH_MAX = 64
local BULK = byte "$"
local ELEMENT = 64 -- bytes that an element costs at least

local resp = {}

--- Bytes that one reply may take in memory, roughly: what a single value may have at most in
--- Redis, and a bit for the rest.
resp.REPLY_MAX = 1024 * 1024 * 1024

local function broken(what, line)
	error(("redis: %s in the server's reply: %q"):format(what, sub(line, 1, 32)), 0)
end

---------------------------------------------------------------------------------------------
-- Replies

local function integer(line)
	local n = tonumber(sub(line, 2))
	if mathtype(n) ~= "integer" then
		broken("bad number", line)
	end
	return n
end

local function spend(sock, cost)
	local left = sock.budget - cost
	if left < 0 then
		error("redis: the server's reply is too big (see the option max_reply)", 0)
	end
	sock.budget = left
end

-- A length that counts against the budget; nil for null.
local function length(sock, line, each)
	local n = integer(line)
	if n < 0 then
		if n == -1 then
			return nil
		end
		broken("negative length", line)
	elseif n > sock.budget then
		spend(sock, n)
	end
	spend(sock, n * each)
	return n
end

local function read_bulk(sock, line)
	local n = length(sock, line, 1)
	if not n then
		return nil
	end
	local buffer, pos = sock.buffer, sock.pos
	if #buffer - pos >= n + 1 then -- all of it is here
		local a, b = byte(buffer, pos + n, pos + n + 1)
		if a == 13 and b == 10 then
			sock.pos = pos + n + 2
			return sub(buffer, pos, pos + n - 1)
		end
		broken("no end of a string", line)
	end
	local data = read_bytes(sock, n)
	if read_bytes(sock, 2) ~= "\r\n" then
		broken("no end of a string", line)
	end
	return data
end

local read_value -- (sock, depth) -> value, failed

local function read_array(sock, line, depth)
	-- elements that don't come cost nothing: they're paid for one by one
	local n = length(sock, line, 0)
	if not n then
		return nil
	end
	local list, failed = {}, false
	for i = 1, n do
		local bad
		list[i], bad = read_value(sock, depth + 1)
		failed = failed or bad
	end
	return list, failed
end

local function read_map(sock, line, depth)
	local map, failed = {}, false
	for _ = 1, length(sock, line, 0) or 0 do
		local key = read_value(sock, depth + 1)
		local value, bad = read_value(sock, depth + 1)
		if key == nil or key ~= key then
			broken("a key that is no key", line)
		end
		map[key] = value
		failed = failed or bad
	end
	return map, failed
end

local function read_double(_, line)
	local text = sub(line, 2)
	local n = tonumber(text)
	if text == "inf" or text == "+inf" then
		return math.huge
	elseif text == "-inf" then
		return -math.huge
	elseif text == "nan" or text == "-nan" then
		return 0 / 0
	elseif not n then
		broken("bad number", line)
	end
	return n + 0.0
end

local function read_big(_, line)
	local text = sub(line, 2)
	if not find(text, "^[+-]?%d+$") then
		broken("bad number", line)
	end
	local n = tonumber(text)
	return mathtype(n) == "integer" and n or text
end

local readers = {
	[byte "+"] = function(_, line)
		return sub(line, 2)
	end,
	[byte "-"] = function(_, line)
		return sub(line, 2), true
	end,
	[byte ":"] = function(_, line)
		return integer(line)
	end,
	[byte "$"] = read_bulk,
	[byte "*"] = read_array,
	[byte "_"] = function() end,
	[byte "#"] = function(_, line)
		if line ~= "#t" and line ~= "#f" then
			broken("bad boolean", line)
		end
		return line == "#t"
	end,
	[byte ","] = read_double,
	[byte "("] = read_big,
	[byte "!"] = function(sock, line)
		return read_bulk(sock, line) or "", true
	end,
	[byte "="] = function(sock, line)
		return sub(read_bulk(sock, line) or "", 5)
	end,
	[byte "%"] = read_map,
	[byte "~"] = read_array,
	[byte "|"] = function(sock, line, depth)
		read_map(sock, line, depth)
		return read_value(sock, depth)
	end,
}

-- A string that's there completely, as most are. nil when it isn't, or isn't one.
local function read_bulk_here(sock, buffer, pos)
	local stop = find(buffer, "\r\n", pos, true)
	local n = stop and mathtointeger(sub(buffer, pos + 1, stop - 1))
	if n and n >= 0 and n <= #buffer then
		local after = stop + 2 + n
		local a, b = byte(buffer, after, after + 1)
		local left = sock.budget - n - ELEMENT
		if a == 13 and b == 10 and left >= 0 then
			sock.pos, sock.budget = after + 2, left
			return sub(buffer, stop + 2, after - 1)
		end
	end
end

function read_value(sock, depth)
	local buffer, pos = sock.buffer, sock.pos
	if byte(buffer, pos) == BULK then
		local text = read_bulk_here(sock, buffer, pos)
		if text then
			return text
		end
	end
	local line = read_line(sock)
	local reader = readers[byte(line)]
	if not reader then
		broken("unknown type", line)
	elseif depth > DEPTH_MAX then
		error(("redis: the server's reply is nested deeper than %d"):format(DEPTH_MAX), 0)
	end
	spend(sock, ELEMENT + #line)
	return reader(sock, line, depth)
end

local PUSH = byte ">"

-- The rest of a push message, if the next bytes are one.
local function read_push(sock)
	if stream.next(sock) == PUSH then
		return (read_array(sock, read_line(sock), 1)) or {}
	end
end

--- Read one reply.
---@param sock table
---@param max integer|nil  bytes it may take, default resp.REPLY_MAX
---@param push fun(message: any[])|nil  gets push messages that come before the reply; without
---  it, a push message is a reply like any other
---@return any value    nil, string, number, boolean, table
---@return boolean|nil failed  true: value is the text of an error, or a table with errors in it
function resp.read(sock, max, push)
	local message
	repeat
		sock.budget = max or resp.REPLY_MAX
		message = read_push(sock)
		if message and not push then
			return message
		elseif message then
			push(message)
		end
	until not message
	return read_value(sock, 1)
end

--- Read push messages that have come already (at least their first byte).
---@param sock table
---@param max integer|nil
---@param push fun(message: any[])
function resp.read_pushed(sock, max, push)
	while stream.peek(sock) == PUSH do
		sock.budget = max or resp.REPLY_MAX
		push(read_push(sock))
	end
end

---------------------------------------------------------------------------------------------
-- Requests

-- "$n\r\n" for short arguments
local prefix = setmetatable({}, {
	__index = function(t, n)
		local s = "$" .. n .. "\r\n"
		if n < 1024 then
			t[n] = s
		end
		return s
	end,
})

local function text(value, command, i)
	if value == nil then
		error(("redis: argument %d of %s is nil"):format(i, command), 0)
	end
	return type(value) == "string" and value or tostring(value)
end

--- A request of a command and `n` arguments. Raises when one of them is nil.
---@param command string
---@param args any[]
---@param n integer
---@return string
function resp.request(command, args, n)
	if n == 1 then -- as most of them
		local a = text(args[1], command, 1)
		return "*2\r\n" .. prefix[#command] .. command .. "\r\n" .. prefix[#a] .. a .. "\r\n"
	end
	local parts = { "*", n + 1, "\r\n", prefix[#command], command, "\r\n" }
	local at = 6
	for i = 1, n do
		local a = text(args[i], command, i)
		parts[at + 1], parts[at + 2], parts[at + 3] = prefix[#a], a, "\r\n"
		at = at + 3
	end
	return table.concat(parts, "", 1, at)
end

return resp
