--- Writing HTTP messages: heads as one string, and the codes' reason phrases.

local concat = table.concat

---@class http.message
local message = {}

--- Reason phrases by status code.
---@type table<integer, string>
message.reason = {}

local REASONS = [[
100 Continue
101 Switching Protocols
200 OK
201 Created
202 Accepted
203 Non-Authoritative Information
204 No Content
205 Reset Content
206 Partial Content
300 Multiple Choices
301 Moved Permanently
302 Found
303 See Other
304 Not Modified
305 Use Proxy
307 Temporary Redirect
400 Bad Request
401 Unauthorized
402 Payment Required
403 Forbidden
404 Not Found
405 Method Not Allowed
406 Not Acceptable
407 Proxy Authentication Required
408 Request Time-out
409 Conflict
410 Gone
411 Length Required
412 Precondition Failed
413 Request Entity Too Large
414 Request-URI Too Large
415 Unsupported Media Type
416 Requested range not satisfiable
417 Expectation Failed
500 Internal Server Error
501 Not Implemented
502 Bad Gateway
503 Service Unavailable
504 Gateway Time-out
505 HTTP Version not supported
]]

for code, text in REASONS:gmatch "(%d+) ([^\n]+)" do
	message.reason[tonumber(code)] = text
end

local status_lines = {}

--- "HTTP/1.1 200 OK" and CRLF.
---@param code integer
---@return string
function message.status_line(code)
	local line = status_lines[code]
	if not line then
		line = ("HTTP/1.1 %03d %s\r\n"):format(code, message.reason[code] or "")
		if message.reason[code] then
			status_lines[code] = line
		end
	end
	return line
end

-- A line end in a name or a value would begin a header line of somebody else's choice.
local function field(name, separator, value)
	local line = name .. separator .. tostring(value)
	if line:find "[\r\n\0]" then
		error(("http: the header %q holds a line break or a zero byte"):format(name), 0)
	end
	return line .. "\r\n"
end

--- Append header lines, in the table's own order. Raises for a line break in one.
---@param out string[]
---@param header table<string, string|number|table>  a list gives several lines
---@param separator string  between name and value
---@param skip function|nil  leave those out for which skip(name) is true
function message.fields(out, header, separator, skip)
	local n = #out
	for name, value in pairs(header) do
		if skip and skip(name) then
			goto continue
		elseif type(value) == "table" then
			for _, v in ipairs(value) do
				n = n + 1
				out[n] = field(name, separator, v)
			end
		else
			n = n + 1
			out[n] = field(name, separator, value)
		end
		::continue::
	end
end

--- One chunk of a chunked body.
---@param bytes string  not empty: that would end the body
---@return string
function message.chunk(bytes)
	return ("%x\r\n%s\r\n"):format(#bytes, bytes)
end

message.LAST_CHUNK = "0\r\n\r\n"

--- A request as one string, body included.
---@param method string
---@param target string
---@param header table|nil
---@param content string|nil
---@return string
function message.request(method, target, header, content)
	if (method .. target):find "[%c]" or method:find " " then
		error("http: the method or the URL holds a control character", 0)
	end
	local out = { method .. " " .. target:gsub(" ", "%%20") .. " HTTP/1.1\r\n" }
	local chunked
	if header then
		message.fields(out, header, ":")
		chunked = header["transfer-encoding"] == "chunked"
	end
	if content and chunked then
		out[#out + 1] = "\r\n"
	else
		out[#out + 1] = ("Content-length:%d\r\n\r\n"):format(content and #content or 0)
	end
	out[#out + 1] = content
	return concat(out)
end

return message
