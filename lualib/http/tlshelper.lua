--- TLS over sockets: handshakes, and the read and write functions http is built on.
--
-- Needs `enablessl = true` in the config. These config keys belong to it:
--   certfile, keyfile   of servers; default ./server-cert.pem, ./server-key.pem
--   ssl_verify          false: clients don't check the certificates of servers. They do by
--                       default; projects that rely on self-made certificates name their
--                       authority by ssl_cafile, or switch the check off. A service that
--                       connects without checking says so once in the log
--   ssl_cafile, ssl_capath   authorities to trust; default: the system's
-- tlshelper.verify, httpc.verify and the options of websocket.connect overrule ssl_verify.

local c = require "ltls.c"
local skynet = require "skynet"
local socket = require "skynet.socket"
local sockethelper = require "http.sockethelper"
local source = require "http.source"

local socket_error = sockethelper.socket_error

---@class http.tlshelper
local tlshelper = {}

--- Do clients of this service check certificates? nil: unless the config's ssl_verify is false.
---@type boolean|nil
tlshelper.verify = nil

local SESSIONS_MAX = 256 -- per client context

local clients = {} -- whether it verifies -> context
local servers = {} -- certificate and key -> context
local sessions = setmetatable({}, { __mode = "k" }) -- context -> key -> session
local origin = setmetatable({}, { __mode = "k" }) -- engine -> { context, key }

--- A new context, see luaclib ltls: set_cert, set_ciphers, set_verify, set_http.
---@return userdata
function tlshelper.newctx()
	return c.newctx()
end

--- An engine for one connection.
---@param method "client"|"server"
---@param ssl_ctx userdata
---@param hostname string|nil  of a client: the server asked for (SNI), which its certificate
---  must name if the context verifies
---@return userdata
function tlshelper.newtls(method, ssl_ctx, hostname)
	local tls = c.newtls(method, ssl_ctx, hostname)
	if method == "client" then
		origin[tls] = { ssl_ctx }
	end
	return tls
end

local function verifies(verify)
	if verify == nil then
		verify = tlshelper.verify
	end
	if verify == nil then
		verify = skynet.getenv "ssl_verify" ~= "false"
	end
	return verify
end

--- This service's context for clients.
---@param verify boolean|nil  check certificates; default: tlshelper.verify, then ssl_verify
---@return userdata
function tlshelper.client_context(verify)
	verify = verifies(verify)
	local ctx = clients[verify]
	if not ctx then
		ctx = c.newctx()
		ctx:set_http()
		if verify then
			ctx:set_verify(skynet.getenv "ssl_cafile", skynet.getenv "ssl_capath")
		else
			skynet.error "tls: servers' certificates aren't checked (ssl_verify = false, or the program's choice)"
		end
		clients[verify] = ctx
	end
	return ctx
end

--- This service's context for servers.
---@param certfile string|nil  PEM; default: certfile of the config
---@param keyfile string|nil   PEM; default: keyfile of the config
---@return userdata
function tlshelper.server_context(certfile, keyfile)
	certfile = certfile or skynet.getenv "certfile" or "./server-cert.pem"
	keyfile = keyfile or skynet.getenv "keyfile" or "./server-key.pem"
	local key = certfile .. "\n" .. keyfile
	local ctx = servers[key]
	if not ctx then
		ctx = c.newctx()
		ctx:set_cert(certfile, keyfile)
		ctx:set_http()
		servers[key] = ctx
	end
	return ctx
end

---------------------------------------------------------------------------------------------
-- Handshakes

local function send(fd, bytes)
	if bytes and bytes ~= "" and not socket.write(fd, bytes) then
		error(socket_error("write failed fd = " .. fd))
	end
end

-- The peer should learn why, so send the alert before raising.
local function step(fd, tls, received)
	local ok, bytes = pcall(tls.handshake, tls, received)
	if not ok then
		socket.write(fd, tls:shutdown())
		error(bytes, 0)
	end
	send(fd, bytes)
end

local function handshake(fd, tls, receive)
	while not tls:finished() do
		if receive then
			local received = socket.read(fd)
			if not received then
				error(socket_error("ssl handshake failed: closed by the peer, fd = " .. fd))
			end
			step(fd, tls, received)
		else
			step(fd, tls)
			receive = true
		end
	end
	send(fd, tls:write())
end

--- The client's handshake: a function to call once. Set a deadline for it with http.deadline.
---@param fd integer
---@param tls userdata
---@param key string|nil  names the server, "host:port": its session is resumed next time
---@return fun(hostname: string|nil)
function tlshelper.init_requestfunc(fd, tls, key)
	return function(hostname)
		if hostname then
			tls:set_ext_host_name(hostname)
		end
		local from = origin[tls]
		if key and from then
			from[2] = key
			local known = sessions[from[1]]
			local session = known and known[key]
			if session then
				tls:resume(session)
			end
		end
		handshake(fd, tls, false)
	end
end

--- The server's handshake: a function to call once. Set a deadline for it with http.deadline.
---@param fd integer
---@param tls userdata
---@return fun()
function tlshelper.init_responsefunc(fd, tls)
	return function()
		handshake(fd, tls, true)
	end
end

---------------------------------------------------------------------------------------------
-- Reading and writing

-- At least one byte of plain text.
local function some(fd, tls)
	local plain = tls:read()
	while plain == "" do
		if tls:ended() then
			error(socket_error("read failed fd = " .. fd))
		end
		local received = socket.read(fd)
		if not received then
			error(socket_error("read failed fd = " .. fd))
		end
		plain = tls:read(received)
	end
	return plain
end

local function exactly(fd, tls, have, n)
	local parts, got = { have }, #have
	while got < n do
		local plain = some(fd, tls)
		parts[#parts + 1] = plain
		got = got + #plain
	end
	local all = table.concat(parts)
	return all:sub(1, n), all:sub(n + 1)
end

--- A function that reads sz bytes, or without sz whatever is there.
---@param fd integer
---@param tls userdata
---@return fun(sz: integer|nil): string
function tlshelper.readfunc(fd, tls)
	local left = ""
	local function read(sz)
		local plain
		if sz then
			plain, left = exactly(fd, tls, left, sz)
			return plain
		elseif left ~= "" then
			plain, left = left, ""
			return plain
		end
		return some(fd, tls)
	end
	source.attach(read, fd, tlshelper.writefunc(fd, tls))
	return read
end

--- A function that writes a string.
---@param fd integer
---@param tls userdata
---@return fun(content: string)
function tlshelper.writefunc(fd, tls)
	local write = socket.write
	return function(content)
		if not write(fd, tls:write(content)) then
			error(socket_error("write failed fd = " .. fd))
		end
	end
end

--- A function that reads everything until the peer closes.
---@param fd integer
---@param tls userdata
---@return fun(): string
function tlshelper.readallfunc(fd, tls)
	return function()
		local parts = {}
		while true do
			local ok, plain = pcall(some, fd, tls)
			if not ok then
				if plain ~= socket_error then
					error(plain, 0)
				end
				return table.concat(parts)
			end
			parts[#parts + 1] = plain
		end
	end
end

local function remember(tls)
	local from = origin[tls]
	local key = from and from[2]
	local ok, session = pcall(tls.session, tls)
	if not (key and ok and session) then
		return
	end
	local known = sessions[from[1]]
	if not known or known.count >= SESSIONS_MAX then
		known = { count = 0 }
		sessions[from[1]] = known
	end
	known.count = known.count + (known[key] and 0 or 1)
	known[key] = session
end

--- A function that frees the engine. With fd it tells the peer first that nothing follows;
--- close the socket afterwards.
---@param tls userdata
---@param fd integer|nil
---@return fun()
function tlshelper.closefunc(tls, fd)
	return function()
		remember(tls)
		if fd and not socket.invalid(fd) and not socket.disconnected(fd) then
			local ok, bytes = pcall(tls.shutdown, tls)
			if ok and bytes ~= "" then
				socket.write(fd, bytes)
			end
		end
		tls:close()
	end
end

return tlshelper
