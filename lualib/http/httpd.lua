--- The server's side of HTTP: reading a request, writing a response. Serving a whole connection
--- (keep-alive, pipelining, time limits) is httpd.serve, in http.server.
--
-- Requests are read strictly, see http.core; what one call reads too far belongs to the next
-- request that is read with the same read function.

local core = require "http.core"
local deadline = require "http.deadline"
local internal = require "http.internal"
local message = require "http.message"
local socket = require "skynet.socket"
local source = require "http.source"

local concat = table.concat

---@class http.httpd
local httpd = {}

--- Time a client has to send the head of a request, and then for its body besides a second for
--- each KiB; centiseconds. false: for ever.
---@type integer|false
httpd.timeout = 6000

--- Most bytes the head of a request may have.
---@type integer
httpd.header_limit = 8192

--- Most bytes a body may have when read_request was given no limit.
---@type integer
httpd.body_limit = 128 << 20

local SLOWEST = 1024 -- bytes a second that a body must have

---------------------------------------------------------------------------------------------
-- Requests

-- Is it the peer's turn to be told that it may send the body?
local function say_continue(read)
	local fd, write = source.ends(read)
	if write then
		write "HTTP/1.1 100 Continue\r\n\r\n"
	elseif fd then
		socket.write(fd, "HTTP/1.1 100 Continue\r\n\r\n")
	end
end

--- A body about to be read, which must keep coming.
---@param read function
---@param framing integer|"chunked"
---@param expect boolean  the peer waits for 100-continue
---@return http.body
function httpd.request_body(read, framing, expect)
	local fd = source.ends(read)
	local body = source.body(read, framing, nil, fd and function(bytes)
		deadline.extend(fd, bytes * 100 / SLOWEST)
	end)
	if expect and body.buf == "" then
		say_continue(read)
	end
	return body
end

-- What a request without framing is followed by: a client that closes afterwards may have sent
-- a body all the same; otherwise it's the next request.
local function unframed_body(read, keepalive)
	return not keepalive and source.take(read) or ""
end

local function read_body(read, framing, limit, header, expect)
	if framing == 0 then
		return ""
	elseif framing ~= "chunked" and framing > limit then
		return nil, 413
	end
	local body = httpd.request_body(read, framing, expect)
	local bytes = body:all(limit)
	if not bytes then
		return nil, body.ended and 400 or 413
	end
	body:finish()
	internal.merge_trailer(body, header)
	return bytes
end

local function answer(read, limit, size, method, target, header, framing, keepalive, expect, minor)
	if not size then
		local code, why = method, target
		if code == 0 then
			return nil, why
		end
		return code
	end
	local body, code
	if framing == nil then
		body = unframed_body(read, keepalive)
	else
		body, code = read_body(read, framing, limit, header, expect)
		if not body then
			return code
		end
	end
	return 200, target, method, header, body, keepalive, minor
end

local function read_request(read, limit)
	return answer(read, limit, source.head(read, core.request, httpd.header_limit))
end

-- The deadline goes whatever the outcome is.
local function done(fd, ok, ...)
	if fd then
		deadline.clear(fd)
	end
	if ok then
		return ...
	end
	return nil, (...)
end

--- Read a request. Never raises.
--- Besides the documented values it returns whether another request may follow on the same
--- connection (read it with the same function), and the minor version (HTTP/1.x).
---@param read fun(sz: integer|nil): string  see http.sockethelper, http.tlshelper
---@param bodylimit integer|nil  bytes; default: httpd.body_limit
---@return integer|nil code  200; or a code to answer with; nil: nobody can be answered
---@return string url_or_error  the request target; or what failed (sockethelper.socket_error)
---@return string method
---@return table<string, string|string[]> header  names in lower case
---@return string body
---@return boolean keepalive
---@return integer minor
function httpd.read_request(read, bodylimit)
	local fd = source.ends(read)
	if fd and httpd.timeout then
		deadline.set(fd, httpd.timeout)
	end
	return done(fd, pcall(read_request, read, bodylimit or httpd.body_limit))
end

---------------------------------------------------------------------------------------------
-- Responses

local function write_chunks(write, produce)
	for bytes in produce do
		if bytes ~= "" then
			write(message.chunk(bytes))
		end
	end
	write(message.LAST_CHUNK)
end

local function write_response(write, status, body, header)
	local out = { message.status_line(status) }
	if header then
		message.fields(out, header, ": ")
	end
	local kind = type(body)
	if kind == "string" then
		out[#out + 1] = ("content-length: %d\r\n\r\n"):format(#body)
		out[#out + 1] = body
	elseif kind == "function" then
		out[#out + 1] = "transfer-encoding: chunked\r\n\r\n"
	else
		assert(body == nil)
		out[#out + 1] = "\r\n"
	end
	write(concat(out))
	if kind == "function" then
		write_chunks(write, body)
	end
end

--- Write a response, in one piece: the head and the body; or the head, and then each chunk.
--- It doesn't wait for a peer that reads slowly: a long body is better left to httpd.serve, which
--- does.
---@param write fun(bytes: string)
---@param status integer
---@param body string|nil|fun(): string|nil  a function gives the chunks of the body, then nil
---@param header table<string, string|number|table>|nil  a list gives several lines
---@return boolean ok
---@return any err
function httpd.write_response(write, status, body, header)
	return pcall(write_response, write, status, body, header)
end

--- Serve a connection until it ends, see http.server.
---@param id integer
---@param handler fun(request: http.request): integer, string|function|nil, table|nil
---@param options http.server_options|nil
---@return boolean ok
---@return any err
function httpd.serve(id, handler, options)
	return require "http.server".serve(id, handler, options)
end

return httpd
