--- The client's side of HTTP.
--
-- By default each call uses a connection of its own. With httpc.keepalive a finished connection
-- waits for the next call to the same host; one that the server has closed meanwhile is noticed,
-- and a request without side effects that met the closing halfway is sent once more.
--
-- Every function raises when the exchange fails; a lost connection or a time-out raises
-- sockethelper.socket_error.

local deadline = require "http.deadline"
local internal = require "http.internal"
local socket = require "skynet.socket"
local sockethelper = require "http.sockethelper"
local source = require "http.source"
local url_encode = require "http.url".encode

---@class http.httpc
local httpc = {}

--- Time for connecting, and then for the exchange; centiseconds. nil: none.
--- Functions take a limit of their own as their last argument.
---@type integer|nil
httpc.timeout = nil

--- How long a connection waits for the next call to the same host; centiseconds. nil: it's
--- closed after each call.
---@type integer|nil
httpc.keepalive = nil

--- Most bytes the body of a response may have; streams have no such limit.
---@type integer|nil  nil: 256 MiB
httpc.body_limit = nil

--- Check certificates of https servers, see tlshelper.verify; nil: as the config says.
---@type boolean|nil
httpc.verify = nil

local IDLE_MAX = 16 -- connections per host

---------------------------------------------------------------------------------------------
-- Hosts

---@class http.target
---@field protocol "http"|"https"
---@field name string       without brackets
---@field port integer
---@field host string       for the host header: as given, without scheme

local PORTS = { http = 80, https = 443 }
local resolver -- skynet.dns, when it's in use

local function is_ip(name)
	local a, b, c, d = name:match "^(%d+)%.(%d+)%.(%d+)%.(%d+)$"
	if a then
		return tonumber(a) < 256 and tonumber(b) < 256 and tonumber(c) < 256 and tonumber(d) < 256
	end
	return name:find(":", 1, true) ~= nil
end

local function split_port(host)
	local name, port = host:match "^%[([^%]]*)%]:?(%d*)$"
	if name then
		return name, tonumber(port)
	end
	local _, colons = host:gsub(":", "")
	if colons > 1 then
		error(("Invalid host: bare IPv6 address '%s', use '[%s]' instead"):format(host, host))
	end
	name, port = host:match "^([^:]+):?(%d*)$"
	if not name or name:find "[%s/%c]" then
		error(("Invalid host: %q (expected [http://|https://]name[:port])"):format(host))
	end
	return name, tonumber(port)
end

---@return http.target
local function parse_host(text)
	local scheme, host = text:match "^(%a[%w+.-]*)://(.*)$"
	local protocol = (scheme or "http"):lower()
	if not PORTS[protocol] then
		error(("Invalid protocol: %s"):format(scheme))
	end
	local name, port = split_port(host or text)
	return { protocol = protocol, name = name, port = port or PORTS[protocol], host = host or text }
end

local function address_of(name)
	if not resolver or is_ip(name) then
		return name
	end
	local ok, address, why = pcall(resolver.resolve, name)
	if not ok or not address then
		error(("%s dns resolve failed msg:%s"):format(name, ok and why or address))
	end
	return address
end

--- Resolve host names by skynet.dns from now on.
---@param server string|nil  address of a name server; default: the system's
---@param port integer|nil
function httpc.dns(server, port)
	resolver = require "skynet.dns"
	if server then
		resolver.server(server, port)
	end
end

---------------------------------------------------------------------------------------------
-- Connections

---@class http.client_connection : http.interface
---@field fd integer
---@field reused boolean|nil

local idle = {} -- key of a target -> list of connections

local function key_of(target)
	return ("%s:%s:%d:%s"):format(target.protocol, target.name, target.port, tostring(httpc.verify))
end

local function forget(list, c)
	for i = #list, 1, -1 do
		if list[i] == c then
			table.remove(list, i)
		end
	end
end

local function plain(fd)
	return {
		fd = fd,
		read = sockethelper.readfunc(fd),
		write = sockethelper.writefunc(fd),
		readall = function()
			return sockethelper.readall(fd)
		end,
	}
end

local function encrypted(fd, target)
	local tlshelper = require "http.tlshelper"
	local ctx = tlshelper.client_context(httpc.verify)
	local tls = tlshelper.newtls("client", ctx, target.name)
	tlshelper.init_requestfunc(fd, tls, ("%s:%d"):format(target.name, target.port))()
	return {
		fd = fd,
		read = tlshelper.readfunc(fd, tls),
		write = tlshelper.writefunc(fd, tls),
		readall = tlshelper.readallfunc(fd, tls),
		closetls = tlshelper.closefunc(tls, fd),
	}
end

local function close(c)
	deadline.clear(c.fd)
	if c.closetls then
		c.closetls()
	end
	socket.close(c.fd)
end

---@return http.client_connection
local function connect(target, timeout)
	local fd = sockethelper.connect(address_of(target.name), target.port, timeout)
	if timeout then
		deadline.set(fd, timeout)
	end
	if target.protocol == "http" then
		return plain(fd)
	end
	local ok, c = pcall(encrypted, fd, target)
	if ok then
		return c
	end
	deadline.clear(fd)
	socket.close(fd)
	error(c, 0)
end

-- A connection that waits for a call, if there's one that is still good.
local function take_idle(target, timeout)
	local list = idle[key_of(target)]
	while list and #list > 0 do
		local c = table.remove(list)
		socket.onclose(c.fd, nil)
		deadline.clear(c.fd)
		if not socket.disconnected(c.fd) then
			if timeout then
				deadline.set(c.fd, timeout)
			end
			c.reused = true
			return c
		end
		close(c)
	end
end

-- The exchange is over: keep the connection, or close it.
local function settle(target, c, reusable)
	deadline.clear(c.fd)
	-- what comes without having been asked for is nobody's
	if not (httpc.keepalive and reusable) or source.take(c.read) or socket.disconnected(c.fd) then
		return close(c)
	end
	local key = key_of(target)
	local list = idle[key] or {}
	idle[key] = list
	if #list >= IDLE_MAX then
		return close(c)
	end
	list[#list + 1] = c
	deadline.set(c.fd, httpc.keepalive)
	socket.onclose(c.fd, function()
		forget(list, c)
		if #list == 0 and idle[key] == list then
			idle[key] = nil
		end
		close(c)
	end)
end

---------------------------------------------------------------------------------------------
-- Exchanges

local SAFE = { GET = true, HEAD = true, OPTIONS = true, PUT = true, DELETE = true, TRACE = true }

local function exchange(c, target, method, url, header, content)
	internal.sendrequest(c, method, target.host, url, header, content)
	return internal.recvresponse(c)
end

-- Raise what ended an exchange; a time-out by its own name.
local function fail(c, err)
	local late = deadline.clear(c.fd)
	close(c)
	if late and err ~= sockethelper.socket_error then
		err = sockethelper.socket_error(("read failed fd = %d"):format(c.fd))
	end
	error(err, 0)
end

-- Send the request and read the head, on a connection that waits or on a new one.
local function begin(target, timeout, method, url, header, content)
	local c = take_idle(target, timeout)
	if c then
		local ok, status, fields, framing, keepalive =
			pcall(exchange, c, target, method, url, header, content)
		if ok then
			return c, status, fields, framing, keepalive
		elseif not SAFE[method] or status ~= sockethelper.socket_error or deadline.clear(c.fd) then
			fail(c, status)
		end
		close(c)
	end
	c = connect(target, timeout)
	local ok, status, fields, framing, keepalive =
		pcall(exchange, c, target, method, url, header, content)
	if not ok then
		fail(c, status)
	end
	return c, status, fields, framing, keepalive
end

local function framing_of(method, status, framing)
	if method == "HEAD" or status == 204 or status == 304 or status < 200 then
		return 0
	end
	return framing or "close"
end

local function fill(into, fields)
	for name, value in pairs(fields) do
		into[name] = value
	end
end

local function read_body(c, framing, fields)
	local body = source.body(c.read, framing)
	local bytes = body:all(httpc.body_limit or internal.body_limit)
	if not bytes then
		error "Invalid response body"
	end
	internal.merge_trailer(body, fields)
	body:finish()
	if framing == "close" and deadline.clear(c.fd) then
		error(sockethelper.socket_error(("read failed fd = %d"):format(c.fd)))
	end
	return bytes
end

--- Send a request and wait for the response.
---@param method string
---@param host string  [http://|https://]name[:port]
---@param url string   path and query
---@param recvheader table|nil  gets the response's header, names in lower case
---@param header table<string, string|number|table>|nil
---@param content string|nil  the body
---@param timeout integer|nil  centiseconds, for connecting and then for the exchange; default:
---  httpc.timeout
---@return integer status
---@return string body
function httpc.request(method, host, url, recvheader, header, content, timeout)
	local target = parse_host(host)
	local c, status, fields, framing, keepalive =
		begin(target, timeout or httpc.timeout, method, url, header, content)
	framing = framing_of(method, status, framing)
	local ok, body = pcall(read_body, c, framing, fields)
	if not ok then
		fail(c, body)
	end
	settle(target, c, keepalive and framing ~= "close")
	if recvheader then
		fill(recvheader, fields)
	end
	return status, body
end

--- Send a HEAD request.
---@param host string
---@param url string
---@param recvheader table|nil
---@param header table|nil
---@param content string|nil
---@param timeout integer|nil  centiseconds
---@return integer status
function httpc.head(host, url, recvheader, header, content, timeout)
	return (httpc.request("HEAD", host, url, recvheader, header, content, timeout))
end

--- Send a GET request.
---@param host string
---@param url string
---@param recvheader table|nil
---@param header table|nil
---@param content string|nil
---@param timeout integer|nil  centiseconds
---@return integer status
---@return string body
function httpc.get(host, url, recvheader, header, content, timeout)
	return httpc.request("GET", host, url, recvheader, header, content, timeout)
end

--- Send a form.
---@param host string
---@param url string
---@param form table<string, any>
---@param recvheader table|nil
---@param timeout integer|nil  centiseconds
---@return integer status
---@return string body
function httpc.post(host, url, form, recvheader, timeout)
	local parts = {}
	for name, value in pairs(form) do
		parts[#parts + 1] = url_encode(name) .. "=" .. url_encode(value)
	end
	local header = { ["content-type"] = "application/x-www-form-urlencoded" }
	return httpc.request("POST", host, url, recvheader, header, table.concat(parts, "&"), timeout)
end

--- Send a request and read the response piece by piece:
---   for bytes, stream in httpc.request_stream(...) do ... end
--- The time limit ends with the response's head. Close a stream that isn't read to its end.
---@param method string
---@param host string
---@param url string
---@param recvheader table|nil
---@param header table|nil
---@param content string|nil
---@param timeout integer|nil  centiseconds
---@return http.stream
function httpc.request_stream(method, host, url, recvheader, header, content, timeout)
	local target = parse_host(host)
	local c, status, fields, framing, keepalive =
		begin(target, timeout or httpc.timeout, method, url, header, content)
	deadline.clear(c.fd)
	if recvheader then
		fill(recvheader, fields)
	end
	framing = framing_of(method, status, framing)
	local stream = internal.response_stream(c, status, nil, fields, framing)
	stream._close = function()
		close(c)
	end
	stream._finish = function(self, body)
		self._close = nil
		body:finish()
		settle(target, c, keepalive and framing ~= "close")
	end
	return stream
end

return httpc
