--- WebSockets (RFC 6455), both sides. An id is a socket id; connections belong to the service
--- that accepted or made them.
--
-- A connection ends when the peer closes or vanishes, when it violates the protocol, when it
-- doesn't read what it's sent, or by websocket.close. Whatever the reason is, its socket is
-- closed, and no call on the id hangs.

local core = require "http.core"
local deadline = require "http.deadline"
local frames = require "http.frames"
local handshake = require "http.handshake"
local httpd = require "http.httpd"
local internal = require "http.internal"
local message = require "http.message"
local skynet = require "skynet"
local socket = require "skynet.socket"
local sockethelper = require "http.sockethelper"
local source = require "http.source"

local socket_error = sockethelper.socket_error

---@class http.websocket
local websocket = {}

--- Most bytes of a message that a server accepts, fragments together.
---@type integer
websocket.max_payload = 256 << 10

--- Most bytes of a message that a client accepts.
---@type integer
websocket.client_max_payload = 64 << 20

--- Most KiB that may wait for a peer that doesn't read; then it's disconnected. The socket layer
--- looks at powers of two MiB.
---@type integer
websocket.max_pending = 16 << 10

--- Must text be UTF-8? Off, text may hold anything, as it may for the original.
---@type boolean
websocket.utf8 = true

local TIMEOUT = 6000 -- cs: for a handshake, and for the rest of a frame

---@class http.websocket_options
---@field upgrade table|nil        a request that was read already: header, method, url; and read
---  and write when it came over TLS. See http.request
---@field protocols string[]|false|nil  sub-protocols to choose from; default { "chat" }; false:
---  whatever is offered, none is chosen
---@field origins string[]|nil     pages that may connect; default: any
---@field max_payload integer|nil  bytes of a message
---@field max_pending integer|nil  KiB that may wait for the peer
---@field timeout integer|nil      for the handshake, and for the rest of a frame; cs
---@field heartbeat integer|nil    ping a peer that was silent so long, and disconnect it after
---  twice the time; cs
---@field strict boolean|nil       refuse unmasked frames of clients, as the RFC demands
---@field utf8 boolean|nil         default: websocket.utf8
---@field certfile string|nil      of wss; default: certfile and keyfile of the config
---@field keyfile string|nil
---@field verify boolean|nil       of a client: check the server's certificate

---@class http.websocket_handler
---@field connect fun(id: integer)|nil  before the handshake
---@field handshake fun(id: integer, header: table, url: string)|nil
---@field message fun(id: integer, data: string, format: "text"|"binary")|nil
---@field ping fun(id: integer, payload: string)|nil  it was answered
---@field pong fun(id: integer, payload: string)|nil
---@field close fun(id: integer, code: integer|nil, reason: string|nil)|nil
---@field error fun(id: integer, err: any)|nil
---@field warning fun(ws: table, kilobytes: integer)|nil

local connections = {} -- id -> connection

local function open_connection(id)
	local ws = connections[id]
	assert(ws and not ws.closed)
	return ws
end

---------------------------------------------------------------------------------------------
-- Life of a connection

local function new(id, options, client)
	local utf8 = options.utf8
	if utf8 == nil then
		utf8 = websocket.utf8
	end
	local limit = client and websocket.client_max_payload or websocket.max_payload
	local ws = {
		id = id,
		client = client,
		limit = options.max_payload or limit,
		max_pending = options.max_pending or websocket.max_pending,
		timeout = options.timeout or TIMEOUT,
		strict = options.strict or false,
		utf8 = utf8,
		handle = {},
	}
	connections[id] = ws
	return ws
end

-- Disconnect a peer that doesn't read; tell others of smaller heaps.
local function watch(ws)
	socket.warning(ws.id, function(id, kilobytes)
		local warning = ws.handle.warning
		if warning then
			warning(ws, kilobytes)
		elseif kilobytes > 0 then
			skynet.error(("WARNING: %d K bytes need to send out (fd = %d)"):format(kilobytes, id))
		end
		if kilobytes >= ws.max_pending then
			skynet.error(("websocket: %d is disconnected: it doesn't read, %d K bytes wait")
				:format(id, kilobytes))
			socket.shutdown(id)
		end
	end)
end

-- Ping a silent peer, give up on a dead one.
local function heartbeat(ws, interval)
	skynet.fork(function()
		while connections[ws.id] == ws and not ws.closed do
			local silent = skynet.now() - ws.heard
			if silent >= 2 * interval then
				socket.shutdown(ws.id)
				return
			elseif silent >= interval and ws.at then
				pcall(ws.send_ping, ws)
			end
			skynet.sleep(interval)
		end
	end)
end

local function use_tls(ws, method, ctx, host, port)
	local tlshelper = require "http.tlshelper"
	local tls = tlshelper.newtls(method, ctx, host)
	ws.close_tls = tlshelper.closefunc(tls, ws.id)
	if method == "client" then
		tlshelper.init_requestfunc(ws.id, tls, ("%s:%d"):format(host, port))()
	else
		tlshelper.init_responsefunc(ws.id, tls)()
	end
	ws.read, ws.write = tlshelper.readfunc(ws.id, tls), tlshelper.writefunc(ws.id, tls)
end

local function use_plain(ws)
	ws.read, ws.write = sockethelper.readfunc(ws.id), sockethelper.writefunc(ws.id)
end

-- Close the socket; the id is still known. With `linger` the peer may still be sending.
local function hang_up(ws, linger)
	ws.closed = true
	deadline.clear(ws.id)
	if ws.close_tls then
		ws.close_tls()
		ws.close_tls = nil
	end
	if linger then
		sockethelper.linger(ws.id)
	end
	socket.close(ws.id)
end

local function forget(ws)
	if not ws.closed then
		hang_up(ws)
	end
	if connections[ws.id] == ws then
		connections[ws.id] = nil
	end
end

---------------------------------------------------------------------------------------------
-- Server

local function refuse(ws, code, text, extra)
	local out = { code == 426 and "HTTP/1.1 426 \r\n" or message.status_line(code) }
	message.fields(out, extra or {}, ": ")
	out[#out + 1] = ("content-length: %d\r\n\r\n%s"):format(#text, text)
	ws.write(table.concat(out))
end

-- Read the request that opens the connection; false when it was refused.
local function read_request(ws)
	local size, method, url, header, _, _, _, minor =
		source.head(ws.read, core.request, httpd.header_limit)
	if not size then
		local code, why = method, url
		if code == 0 then
			error(why)
		end
		refuse(ws, code, message.reason[code])
		return false
	elseif method ~= "GET" then
		refuse(ws, 400, "need GET method")
		return false
	elseif minor < 1 then
		refuse(ws, 505, message.reason[505])
		return false
	end
	return { header = header, url = url, method = method, read = ws.read }
end

-- Open the WebSocket for a request; false when it was refused.
local function answer_request(ws, request, options)
	local header = request.header
	local code, text, extra = handshake.check(header, options)
	if code then
		refuse(ws, code, text, extra)
		return false
	end
	ws.write(handshake.answer(header, text))
	ws.header, ws.url, ws.protocol = header, request.url, text
	frames.new(ws, request.read and source.take(request.read) or source.take_from(ws.id))
	return true
end

local function use_interface(ws, protocol, options)
	local upgrade = options.upgrade
	if upgrade and upgrade.write then
		ws.read, ws.write = upgrade.read, upgrade.write
	elseif protocol == "ws" then
		use_plain(ws)
	elseif upgrade then
		error "websocket: options.upgrade needs read and write of the request when it came over TLS"
	else
		local tlshelper = require "http.tlshelper"
		use_tls(ws, "server", tlshelper.server_context(options.certfile, options.keyfile))
	end
end

local function open(ws, protocol, options)
	deadline.set(ws.id, ws.timeout)
	use_interface(ws, protocol, options)
	local request = options.upgrade or read_request(ws)
	if not request or not answer_request(ws, request, options) then
		return false
	end
	deadline.clear(ws.id)
	return true
end

-- Answer a close frame, and tell the handler.
local function closed_by_peer(ws, payload)
	local code, reason
	if #payload >= 2 then
		code, reason = string.unpack(">I2", payload), payload:sub(3)
	end
	pcall(ws.send_close, ws, code)
	hang_up(ws)
	if ws.handle.close then
		ws.handle.close(ws.id, code, reason)
	end
end

local function converse(ws)
	local handle, id = ws.handle, ws.id
	local function on_control(what, payload)
		if handle[what] then
			handle[what](id, payload)
		end
	end
	while not ws.closed do
		local data, format = ws:next(on_control)
		if not data then
			return closed_by_peer(ws, format)
		elseif handle.message then
			handle.message(id, data, format)
		end
	end
end

local function serve(ws, protocol, options)
	local handle = ws.handle
	if handle.connect then
		handle.connect(ws.id)
	end
	if not open(ws, protocol, options) then
		hang_up(ws)
		if handle.close then
			handle.close(ws.id)
		end
		return
	end
	if options.heartbeat then
		heartbeat(ws, options.heartbeat)
	end
	if handle.handshake then
		handle.handshake(ws.id, ws.header, ws.url)
	end
	converse(ws)
	if ws.closed_here and handle.close then
		handle.close(ws.id)
	end
end

-- What ended the conversation, with the place it came from unless it's known.
local function trace(err)
	if err == socket_error or frames.is_violation(err) then
		return err
	end
	return debug.traceback(tostring(err), 2)
end

-- Returns what accept returns.
local function failed(ws, err)
	local handle = ws.handle
	if ws.closed_here then
		if handle.close then
			handle.close(ws.id)
		end
		return true
	elseif err == socket_error then
		hang_up(ws)
		if handle.error then
			handle.error(ws.id, err)
		end
		return true
	elseif frames.is_violation(err) then
		pcall(ws.send_close, ws, err.code, err.text)
		hang_up(ws, true)
		if handle.error then
			handle.error(ws.id, err.text)
		end
		return false, err.text
	end
	pcall(ws.send_close, ws, 1011)
	hang_up(ws, true)
	return false, err
end

--- Serve a WebSocket on an accepted socket until it ends.
--- Raises for a wrong protocol.
---@param id integer  not started yet, unless options.upgrade is given
---@param handle http.websocket_handler
---@param protocol "ws"|"wss"|nil
---@param addr string|nil  for addrinfo
---@param options http.websocket_options|nil
---@return boolean ok  false: it was the peer's violation, or a handler raised
---@return string|nil err
function websocket.accept(id, handle, protocol, addr, options)
	protocol, options = protocol or "ws", options or {}
	if protocol ~= "ws" and protocol ~= "wss" then
		error(("invalid websocket protocol:%s"):format(protocol))
	end
	if not options.upgrade then
		local started, err = socket.start(id)
		if not started then
			return false, err
		end
	end
	local ws = new(id, options, false)
	ws.handle, ws.addr = handle, addr
	if socket.invalid(id) then
		connections[id] = nil
		return false, "connect is closed " .. id
	end
	watch(ws)
	local ok, err = xpcall(serve, trace, ws, protocol, options)
	if not ok then
		local told, result, why = xpcall(failed, trace, ws, err)
		ok, err = told and result, told and why or result
	end
	forget(ws)
	if ok then
		return true
	end
	return false, err
end

---------------------------------------------------------------------------------------------
-- Client

local PORTS = { ws = 80, wss = 443 }

-- Protocol, host name, port, what the host header says, path.
local function parse_url(url)
	local protocol, authority, path = url:match "^(wss?)://([^/?#]+)([^#]*)"
	if not protocol then
		error "invalid protocol: nil"
	end
	local name, port = authority:match "^%[([^%]]+)%]:?(%d*)$"
	if not name then
		name, port = authority:match "^([^:]+):?(%d*)$"
	end
	if not name or url:find "[%c ]" then
		error(("websocket: %q isn't an address (expected ws://host[:port]/path)"):format(url))
	end
	port = tonumber(port) or PORTS[protocol]
	return protocol, name, port, authority, path:find "^/" and path or "/" .. path
end

local function dial(ws, protocol, name, port, verify)
	if protocol == "ws" then
		return use_plain(ws)
	end
	use_tls(ws, "client", require "http.tlshelper".client_context(verify), name, port)
end

local function offer_of(header)
	for name, value in pairs(header or {}) do
		if name:lower() == "sec-websocket-protocol" then
			return value
		end
	end
end

local function request(ws, host, path, header)
	local bytes, key = handshake.request(host, path, header)
	ws.write(bytes)
	local status, fields, framing = internal.recvresponse(ws)
	if status ~= 101 then
		local body = source.body(ws.read, framing or "close"):all(8192) or ""
		error(("websocket handshake error: code[%d] info:%s"):format(status, body))
	end
	ws.protocol = handshake.verify(fields, key, offer_of(header))
	frames.new(ws, source.take(ws.read))
end

local function connect(ws, protocol, name, port, host, path, header, options)
	if ws.opening then
		deadline.set(ws.id, ws.opening)
	end
	dial(ws, protocol, name, port, options.verify)
	request(ws, host, path, header)
	deadline.clear(ws.id)
end

--- Connect to a WebSocket server. Raises when it can't be reached or refuses.
---@param url string  ws://host[:port][/path], or wss://
---@param header table|nil  more header of the request
---@param timeout integer|nil  centiseconds, for connecting and then for the handshake
---@param options http.websocket_options|nil
---@return integer id
function websocket.connect(url, header, timeout, options)
	options = options or {}
	local protocol, name, port, host, path = parse_url(url)
	handshake.request(host, path, header) -- raises before anything is opened
	local ws = new(sockethelper.connect(name, port, timeout), options, true)
	ws.addr, ws.opening = host, timeout
	watch(ws)
	local ok, err = pcall(connect, ws, protocol, name, port, host, path, header, options)
	if not ok then
		forget(ws)
		error(err, 0)
	end
	if options.heartbeat then
		heartbeat(ws, options.heartbeat)
	end
	return ws.id
end

--- Wait for a message. Pings are answered meanwhile.
--- Raises sockethelper.socket_error when the connection is lost or the time is over; it's closed
--- then. Raises for a violation of the protocol, too.
---@param id integer
---@param timeout integer|nil  centiseconds
---@return string|false data  false: the peer has closed
---@return string|nil close  the payload of its close frame: code in two bytes, and reason
function websocket.read(id, timeout)
	local ws = open_connection(id)
	ws.due = timeout and skynet.now() + timeout
	ws:limit_time(nil)
	local ok, data, format = pcall(ws.next, ws)
	ws.due = nil
	deadline.clear(id)
	if not ok then
		if frames.is_violation(data) then
			pcall(ws.send_close, ws, data.code, data.text)
			data = data.text
		end
		forget(ws)
		error(data, 0)
	elseif data == false then
		pcall(ws.send_close, ws, #format >= 2 and string.unpack(">I2", format) or nil)
		forget(ws)
		return false, format
	end
	return data
end

---------------------------------------------------------------------------------------------
-- Both sides

--- Send a message, as one frame.
---@param id integer
---@param data string
---@param fmt "text"|"binary"|nil  default "text"
---@param masking_key integer|nil  32 bits; default: random for a client, none for a server
function websocket.write(id, data, fmt, masking_key)
	open_connection(id):send_message(data, fmt, masking_key)
end

--- Send a ping.
---@param id integer
---@param payload string|nil  up to 125 bytes
function websocket.ping(id, payload)
	open_connection(id):send_ping(payload)
end

--- The address given to accept; a client's: host and port it's connected to.
---@param id integer
---@return string|nil
function websocket.addrinfo(id)
	return assert(connections[id]).addr
end

--- The peer's address as a proxy in front told it (x-real-ip). Anybody can send that: it's worth
--- something only when a proxy sets it.
---@param id integer
---@return string|nil
function websocket.real_ip(id)
	local header = assert(connections[id]).header
	return header and header["x-real-ip"]
end

--- The sub-protocol that was agreed on.
---@param id integer
---@return string|nil
function websocket.subprotocol(id)
	return assert(connections[id]).protocol
end

--- Is the connection closed, or lost?
---@param id integer
---@return boolean
function websocket.is_close(id)
	local ws = connections[id]
	return not ws or ws.closed or socket.disconnected(id) ~= false
end

--- Close a connection: a close frame, and then its socket. Never raises; an unknown id is
--- ignored.
---@param id integer
---@param code integer|nil  1000, 1001 ..., or 3000 to 4999
---@param reason string|nil  up to 123 bytes
function websocket.close(id, code, reason)
	local ws = connections[id]
	if not ws or ws.closed then
		return
	end
	ws.closed_here = true
	if ws.at then
		pcall(ws.send_close, ws, code, reason)
	end
	hang_up(ws)
	if ws.client then
		forget(ws)
	end
end

return websocket
