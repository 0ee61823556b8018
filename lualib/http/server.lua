--- Serving one HTTP connection: request after request, until either side wants no more.
--
--   socket.start(listener, function(id, address)
--       skynet.fork(httpd.serve, id, handler, { address = address })
--   end)
--
-- The handler gets a request and returns status, body and header; a body may be a function that
-- gives it piece by piece. Requests of one connection are handled in order. A peer that sends
-- too slowly, too much, or doesn't read what it's sent, is dropped; a handler that raises makes
-- a 500 and a line in the log.

local core = require "http.core"
local deadline = require "http.deadline"
local httpd = require "http.httpd"
local message = require "http.message"
local skynet = require "skynet"
local socket = require "skynet.socket"
local sockethelper = require "http.sockethelper"
local source = require "http.source"
local url = require "http.url"

local concat = table.concat

---@class http.server_options
---@field protocol "http"|"https"|nil
---@field address string|nil      the peer's, for request.address
---@field body_limit integer|nil  bytes of a request's body; default 1 MiB
---@field stream boolean|nil      request.body is a function that gives the pieces
---@field timeout integer|nil     for a request to arrive, and for a reply to be taken; cs, 6000
---@field idle integer|nil        for the next request to begin; cs, default 6000
---@field requests integer|nil    requests per connection; default 10000
---@field certfile string|nil     of https; default: certfile and keyfile of the config
---@field keyfile string|nil

---@class http.request
---@field id integer         the socket
---@field address string|nil
---@field method string
---@field url string         the request target as it came
---@field path string        decoded
---@field query string       raw, see url.parse_query
---@field header table<string, string|string[]>
---@field body string|fun(): string|nil
---@field minor integer      HTTP/1.minor
---@field read function      of the connection, for who takes it over
---@field write function

local server = {}

local BODY_LIMIT = 1 << 20
local TIMEOUT = 6000
local REQUESTS = 10000
local UNHEARD = 256 * 1024 -- bytes written without looking for warnings

---------------------------------------------------------------------------------------------
-- A connection

-- `refused`: the peer may still be sending what nobody will read.
---@class http.connection
local connection = {}
connection.__index = connection

-- Write, and wait until the peer has taken enough of what was written before: a long body, or
-- many replies, must not fill memory. News of the peer come only while this coroutine waits.
function connection:send(bytes)
	self.write(bytes)
	self.written = self.written + #bytes
	if self.written > UNHEARD then
		self.written = 0
		skynet.yield()
	end
	if self.full then
		self:drain()
	end
end

function connection:drain()
	deadline.set(self.id, self.timeout)
	while self.full and not socket.disconnected(self.id) do
		self.drained = coroutine.running()
		skynet.wait(self.drained)
	end
	self.drained = nil
	deadline.clear(self.id)
end

local function wake(self)
	self.full = false
	if self.drained then
		skynet.wakeup(self.drained)
	end
end

local function watch(self)
	socket.warning(self.id, function(_, kilobytes)
		if kilobytes > 0 then
			self.full = true
		else
			wake(self)
		end
	end)
	socket.onclose(self.id, function()
		wake(self)
	end)
end

local function open_tls(self, options)
	local tlshelper = require "http.tlshelper"
	local ctx = tlshelper.server_context(options.certfile, options.keyfile)
	local tls = tlshelper.newtls("server", ctx)
	self.close_tls = tlshelper.closefunc(tls, self.id)
	deadline.set(self.id, self.timeout)
	tlshelper.init_responsefunc(self.id, tls)()
	self.read, self.write = tlshelper.readfunc(self.id, tls), tlshelper.writefunc(self.id, tls)
end

local function new(id, options)
	return setmetatable({
		id = id,
		address = options.address,
		timeout = options.timeout or TIMEOUT,
		idle = options.idle or TIMEOUT,
		body_limit = options.body_limit or BODY_LIMIT,
		stream = options.stream,
		left = options.requests or REQUESTS,
		written = 0,
	}, connection)
end

local function open(self, id, options)
	watch(self)
	if options.protocol == "https" then
		open_tls(self, options)
	else
		self.read, self.write = sockethelper.readfunc(id), sockethelper.writefunc(id)
	end
end

---------------------------------------------------------------------------------------------
-- Replies

local function is_framing(name)
	name = name:lower()
	return name == "content-length" or name == "transfer-encoding" or name == "connection"
end

-- What the handler may say about the connection: only that it shall end.
local function wants_close(header)
	local value = header and (header.connection or header.Connection)
	return type(value) == "string" and value:lower() == "close"
end

local function produce(self, body, encode)
	for bytes in body do
		if bytes ~= "" then
			self:send(encode and encode(bytes) or bytes)
		end
	end
	if encode then
		self.write(message.LAST_CHUNK)
	end
end

local function head_fields(out, request, status, body, keepalive)
	local bodiless = status == 204 or status == 304 or status < 200
	local streams = type(body) == "function"
	if streams and not bodiless then
		if request.minor > 0 then
			out[#out + 1] = "transfer-encoding: chunked\r\n"
		else
			keepalive = false -- the end of the connection is the end of the body
		end
	elseif not bodiless then
		out[#out + 1] = ("content-length: %d\r\n"):format(body and #body or 0)
	end
	if not keepalive then
		out[#out + 1] = "connection: close\r\n"
	elseif request.minor == 0 then
		out[#out + 1] = "connection: keep-alive\r\n"
	end
	out[#out + 1] = "\r\n"
	return keepalive, bodiless or request.method == "HEAD", streams
end

-- Write the reply; returns whether the connection goes on.
local function reply(self, request, keepalive, status, body, header)
	local out = { message.status_line(status) }
	if header then
		message.fields(out, header, ": ", is_framing)
		keepalive = keepalive and not wants_close(header)
	end
	local headless, streams
	keepalive, headless, streams = head_fields(out, request, status, body, keepalive)
	if not headless and not streams then
		out[#out + 1] = body
	end
	self:send(concat(out))
	if streams and not headless then
		produce(self, body, request.minor > 0 and message.chunk or nil)
	end
	return keepalive
end

local function refuse(self, code)
	self.refused = true
	return reply(self, { minor = 1, method = "GET" }, false, code, message.reason[code] or "")
end

---------------------------------------------------------------------------------------------
-- Requests

-- A function that gives the pieces of the body, with the time limits of reading it.
local function body_pieces(self, body)
	local size = 0
	return function()
		deadline.set(self.id, self.timeout)
		local bytes = body:next()
		deadline.clear(self.id)
		if bytes == nil then
			return nil
		end
		size = size + (bytes and #bytes or 0)
		if not bytes or size > self.body_limit then
			body.broken = true
			error("the request's body is " .. (bytes and "too large" or "malformed"))
		end
		return bytes
	end
end

-- Read what the handler left of the body; false when it isn't worth it.
local function rest_of(body, limit)
	if body.broken then
		return false
	end
	if not body.ended and not body:all(limit) then
		return false
	end
	body:finish()
	return true
end

local function body_of(self, framing, expect)
	if framing == nil or framing == 0 then
		return self.stream and function() end or ""
	elseif framing ~= "chunked" and framing > self.body_limit then
		return nil, 413
	end
	local body = httpd.request_body(self.read, framing, expect)
	if self.stream then
		return body_pieces(self, body), body
	end
	local bytes = body:all(self.body_limit)
	if not bytes then
		return nil, body.ended and 400 or 413
	end
	body:finish()
	return bytes
end

-- Returned by a handler that has taken the connection over.
local TAKEN = false

local function run(handler, request)
	local ok, status, body, header = xpcall(handler, debug.traceback, request)
	if ok and (status == TAKEN or math.type(status) == "integer") then
		return status, body, header
	end
	skynet.error(("http: the handler of %s %s failed: %s"):format(request.method, request.url,
		ok and "it returned no status" or status))
	return 500, message.reason[500]
end

local function handle(self, handler, request, keepalive, pending)
	local status, body, header = run(handler, request)
	if status == TAKEN then
		return nil
	end
	if pending and not rest_of(pending, self.body_limit) then
		keepalive = false
		self.refused = true
	end
	return reply(self, request, keepalive, status, body, header)
end

-- A parsed head; returns whether the connection goes on, nil when somebody took it over.
local function serve_one(self, handler, size, method, target, header, framing, keepalive, expect,
		minor)
	if not size then
		local code = method
		deadline.clear(self.id)
		return refuse(self, code == 0 and 400 or code)
	end
	local body, pending = body_of(self, framing, expect)
	deadline.clear(self.id)
	if not body then
		return refuse(self, pending)
	end
	self.left = self.left - 1
	local path, query = url.parse(target)
	return handle(self, handler, {
		id = self.id, address = self.address,
		method = method, url = target, path = path, query = query,
		header = header, body = body, minor = minor,
		read = self.read, write = self.write,
	}, keepalive and self.left > 0, pending)
end

-- Wait for the first bytes of a request; nil: there are no more.
local function first_bytes(self)
	local data = source.take(self.read)
	while not data or data == "" do
		deadline.set(self.id, self.idle)
		local ok
		ok, data = pcall(self.read)
		if not ok then
			return nil
		end
	end
	return data
end

local function serve(self, id, handler, options)
	open(self, id, options)
	while true do
		local data = first_bytes(self)
		if not data then
			return true
		end
		deadline.set(id, self.timeout)
		local go_on = serve_one(self, handler,
			source.head(self.read, core.request, httpd.header_limit, data))
		if not go_on then
			return true, go_on == nil
		end
	end
end

--- Serve a connection until it ends; then its socket is closed. Never raises.
---@param id integer  as accepted, not started
---@param handler fun(request: http.request): integer|false, string|function|nil, table|nil
---  returns status, body, header; or false when it has taken the connection over
---@param options http.server_options|nil
---@return boolean ok  false: the connection failed
---@return any err
function server.serve(id, handler, options)
	local started, why = socket.start(id)
	if not started then
		return false, why
	end
	options = options or {}
	local self = new(id, options)
	local ok, err = pcall(serve, self, id, handler, options)
	deadline.clear(id)
	if self.close_tls then
		self.close_tls()
	end
	if self.refused then
		sockethelper.linger(id)
	end
	socket.close(id)
	return ok, err
end

return server
