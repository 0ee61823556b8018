--- The pieces other libraries build HTTP on: reading heads and bodies through an interface of
--- functions, whatever carries the bytes.
--
-- An interface has read(sz|nil), write(bytes) and readall(), and optionally init and close.

local core = require "http.core"
local message = require "http.message"
local source = require "http.source"

---@class http.interface
---@field read fun(sz: integer|nil): string
---@field write fun(bytes: string)
---@field readall fun(): string|false
---@field init fun(host: string|nil)|nil
---@field close fun()|nil

---@class http.internal
local internal = {}

local HEAD_MAX = 8192 -- bytes, of recvheader

--- Most bytes the head of a response may have.
internal.head_limit = 65536

--- Most bytes the body of a response may have.
internal.body_limit = 256 << 20

--- Read header lines.
---@param read fun(): string
---@param lines string[]  gets the lines, without CRLF
---@param header string  what was read already
---@return string|nil body  the bytes behind the header; nil: it's too long
function internal.recvheader(read, lines, header)
	local scanned = 1
	while true do
		if header:sub(1, 2) == "\r\n" then
			return header:sub(3)
		end
		local stop = header:find("\r\n\r\n", scanned, true)
		if stop then
			for line in header:sub(1, stop + 1):gmatch "(.-)\r\n" do
				lines[#lines + 1] = line
			end
			return header:sub(stop + 4)
		elseif #header > HEAD_MAX then
			return nil
		end
		scanned = math.max(1, #header - 2)
		header = header .. read()
	end
end

local function add(header, name, value)
	local known = header[name]
	if known == nil then
		header[name] = value
	elseif type(known) == "table" then
		known[#known + 1] = value
	else
		header[name] = { known, value }
	end
end

-- What a line that begins with a tab adds to.
local function continue(header, name, more)
	local known = header[name]
	if type(known) == "table" then
		known[#known] = known[#known] .. more
	else
		header[name] = known .. more
	end
end

--- Turn header lines into a table: lower-case names, a list of values for a repeated name.
---@param lines string[]
---@param from integer  first line
---@param header table  is filled
---@return table|nil header  nil when a line isn't one
function internal.parseheader(lines, from, header)
	local last
	for i = from, #lines do
		local line = lines[i]
		if line:byte(1) == 9 then
			if not last then
				return nil
			end
			continue(header, last, line:sub(2))
		else
			local name, value = line:match "^([^:]-):%s*(.*)$"
			if not name then
				return nil
			end
			last = name:lower()
			add(header, last, value)
		end
	end
	return header
end

-- A trailer must not change how the message was delimited or routed.
local FRAMING = {
	["content-length"] = true, ["transfer-encoding"] = true, ["host"] = true,
	["trailer"] = true, ["connection"] = true,
}

--- Add the trailer lines of a chunked body to a header.
---@param body http.body
---@param header table
function internal.merge_trailer(body, header)
	for _, line in ipairs(body.trailer or {}) do
		local name, value = line:match "^([^:]+):[ \t]*(.-)[ \t]*$"
		name = name:lower()
		if not FRAMING[name] then
			add(header, name, value)
		end
	end
end

--- Read a chunked body.
---@param read fun(sz: integer|nil): string
---@param limit integer|nil  bytes
---@param header table  gets the trailer's fields
---@param early string  what was read already
---@return string|nil body  nil when it's malformed or too large
---@return table|nil header
function internal.recvchunkedbody(read, limit, header, early)
	local body = source.body(read, "chunked", early)
	local bytes = body:all(limit or internal.body_limit)
	if bytes then
		internal.merge_trailer(body, header)
		return bytes, header
	end
end

---------------------------------------------------------------------------------------------
-- The client's side

-- Fields a caller must see in his own table.
local function fill(into, fields)
	for name, value in pairs(fields) do
		into[name] = value
	end
	return into
end

--- Read the head of a response; interim ones (100, 103 ...) are passed over.
---@param interface http.interface
---@return integer status
---@return table header
---@return integer|"chunked"|nil framing
---@return boolean keepalive
function internal.recvresponse(interface)
	local read = interface.read
	while true do
		local size, status, header, framing, keepalive =
			source.head(read, core.response, internal.head_limit)
		if not size then
			local code = status
			if code == 501 then
				error "Unsupport transfer-encoding"
			elseif code == 413 then
				error "Recv header failed"
			end
			error(("Invalid HTTP response header (%s)"):format(header))
		elseif status >= 200 or status == 101 then
			return status, header, framing, keepalive
		end
	end
end

local function host_field(header, host)
	for name in pairs(header) do
		if type(name) == "string" and name:lower() == "host" then
			return header
		end
	end
	return fill({ Host = host }, header)
end

--- Send a request in one piece.
---@param interface http.interface
---@param method string
---@param host string  for the host header
---@param url string
---@param header table|nil
---@param content string|nil
function internal.sendrequest(interface, method, host, url, header, content)
	header = header and host_field(header, host) or { host = host }
	interface.write(message.request(method, url, header, content))
end

--- Send a request and read the head of its response.
---@param interface http.interface
---@param method string
---@param host string  for the host header
---@param url string
---@param recvheader table|nil  gets the response's header
---@param header table|nil
---@param content string|nil
---@return integer status
---@return string early  bytes of the body that came along
---@return table header
function internal.request(interface, method, host, url, recvheader, header, content)
	internal.sendrequest(interface, method, host, url, header, content)
	local status, fields = internal.recvresponse(interface)
	local early = source.take(interface.read) or ""
	return status, early, recvheader and fill(recvheader, fields) or fields
end

--- How the body of a response is delimited.
---@param status integer
---@param header table
---@return integer|"chunked"|"close"
function internal.framing(status, header)
	if status == 204 or status == 304 or status < 200 then
		return 0
	end
	local coding, length = header["transfer-encoding"], header["content-length"]
	if type(coding) == "string" and coding:lower() == "chunked" then
		return "chunked"
	elseif coding and (type(coding) ~= "string" or coding:lower() ~= "identity") then
		error "Unsupport transfer-encoding"
	end
	if type(length) == "table" then
		length = length[1]
	end
	return math.tointeger(tonumber(length)) or "close"
end

--- Read the body of a response.
---@param interface http.interface
---@param status integer
---@param early string  bytes that came with the head
---@param header table  gets the trailer
---@return string body
function internal.response(interface, status, early, header)
	local body = source.body(interface.read, internal.framing(status, header), early)
	local bytes = body:all(internal.body_limit)
	if not bytes then
		error "Invalid response body"
	end
	internal.merge_trailer(body, header)
	body:finish()
	return bytes
end

---@class http.stream
---@field status integer
---@field header table
---@field connected boolean|nil  true: more may come; nil: complete; false: broken
local stream = {}
stream.__index = stream

-- The next piece, or nil.
local function advance(self)
	local body = self._body
	if not self.connected then
		return nil
	end
	local ok, bytes = pcall(body.next, body)
	if ok and bytes then
		return bytes
	elseif ok and bytes == nil then
		self.connected = nil
		internal.merge_trailer(body, self.header)
		if self._finish then
			self:_finish(body)
		end
		-- a chunked body ends with an empty chunk
		return body.framing == "chunked" and "" or nil
	end
	self.connected = false
	self:close()
	error(ok and "Invalid response body" or bytes, 0)
end

function stream:__call()
	local bytes = advance(self)
	if bytes then
		return bytes, self
	end
end

--- The next piece of the body, or nil.
function stream:padding()
	return self()
end

--- Give the stream up, or free what a complete one holds.
function stream:close()
	if self._close then
		local close = self._close
		self._close = nil
		if self.connected then
			self.connected = false
		end
		close()
	end
end

stream.__close = stream.close

--- The body of a response, piece by piece.
---@param interface http.interface
---@param status integer
---@param early string
---@param header table
---@param framing integer|"chunked"|"close"|nil  default: what status and header say
---@return http.stream
function internal.response_stream(interface, status, early, header, framing)
	framing = framing or internal.framing(status, header)
	return setmetatable({
		_body = source.body(interface.read, framing, early),
		_close = interface.close,
		status = status,
		header = header,
		connected = true,
	}, stream)
end

return internal
