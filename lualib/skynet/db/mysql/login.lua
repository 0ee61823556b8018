--- The beginning of a MySQL connection: greeting, TLS, and the exchange that proves the password.
--
-- It runs as one response function of the channel, in the coroutine that reads the connection,
-- and raises `errno:N, msg:TEXT,sqlstate:S` when the server refuses.
--
-- Ways to prove it: mysql_native_password; caching_sha2_password and sha256_password, which may
-- need the password itself: it's sent inside of TLS, or sealed with the server's public key. That
-- key comes from the server, unless the user knows it (server_public_key): without that, somebody
-- in between could hand out a key of their own.

local auth = require "skynet.mysql.auth"
local packet = require "skynet.db.mysql.packet"
local result = require "skynet.db.mysql.result"
local stream = require "skynet.db.stream"

local login = {}

local STEPS_MAX = 16 -- packets in an exchange

-- long password, found rows, long flag, connect with db, ODBC, ignore space, protocol 4.1,
-- interactive, ignore sigpipe, transactions, reserved, secure connection, multi results; plugins,
-- multi results of statements. Local files aren't offered: a server must not read them.
local CAPABILITIES = 0x2f74f | 0xc0000
local MULTI_STATEMENTS, TLS = 0x10000, 0x800

---------------------------------------------------------------------------------------------
-- The greeting

local function refused(payload)
	local e = result.error(payload)
	error(("errno:%d, msg:%s,sqlstate:%s"):format(e.errno, e.err, tostring(e.sqlstate)), 0)
end

local function zero_terminated(payload, pos)
	local stop = payload:find("\0", pos, true)
	return payload:sub(pos, (stop or #payload + 1) - 1), stop and stop + 1 or #payload + 1
end

-- version, nonce, capabilities and preferred plugin of a server
local function read_greeting(sock)
	local payload = packet.read(sock)
	local protocol = payload:byte()
	if protocol == 0xff then
		refused(payload)
	elseif protocol ~= 10 then
		packet.broken "a greeting of an unknown version"
	end
	local version, pos = zero_terminated(payload, 2)
	local nonce, low, _, _, high = packet.unpack("<xxxxc8xI2BI2I2", payload, pos)
	pos = pos + 4 + 8 + 1 + 2 + 1 + 2 + 2 + 1 + 10
	-- 12 more bytes of the nonce and a zero
	return {
		version = version,
		nonce = nonce .. payload:sub(pos, pos + 11),
		capabilities = low | high << 16,
		plugin = (zero_terminated(payload, pos + 13)),
	}
end

---------------------------------------------------------------------------------------------
-- Plugins

-- The password itself, for plugins that need it.
local function hand_over(state)
	if state.secure then
		return state.password .. "\0"
	end
	local sealed, err = auth.seal(state.password, state.nonce, state.key)
	return sealed or error("mysql: " .. err, 0)
end

-- The first answer of each plugin.
local plugins = {
	mysql_native_password = function(state)
		return state.password == "" and "" or auth.native(state.password, state.nonce)
	end,
	caching_sha2_password = function(state)
		return state.password == "" and "" or auth.caching(state.password, state.nonce)
	end,
	sha256_password = function(state)
		if state.password == "" then
			return ""
		elseif state.secure or state.key then
			return hand_over(state)
		end
		return "\1" -- asks for the key
	end,
}

local REQUEST_KEY = { caching_sha2_password = "\2", sha256_password = "\1" }
local FAST_OK, FULL = "\3", "\4"

-- The server says more: what to answer, or nil.
local function continue(state, data)
	local ask_for_key = REQUEST_KEY[state.plugin]
	if not ask_for_key then
		packet.broken "more than its plugin has to say"
	elseif data == FAST_OK then
		return nil
	elseif data == FULL and not state.secure and not state.key then
		return ask_for_key
	elseif data ~= FULL then
		state.key = data
	end
	return hand_over(state)
end

-- The server wants another plugin.
local function switch(state, payload)
	if #payload == 1 then
		error("old pre-4.1 authentication protocol not supported", 0)
	end
	local plugin, pos = zero_terminated(payload, 2)
	if not plugins[plugin] then
		error(("mysql: the server demands the authentication plugin %q, which isn't supported " ..
			"(use mysql_native_password or caching_sha2_password for this user)"):format(plugin), 0)
	end
	state.plugin, state.nonce = plugin, payload:sub(pos, pos + 19)
	if #state.nonce < 20 then
		packet.broken "a nonce that is too short"
	end
	return plugins[plugin](state)
end

local function prove(sock, state)
	for _ = 1, STEPS_MAX do
		local payload = packet.read(sock)
		local kind, answer = payload:byte(), nil
		if kind == 0 then
			return
		elseif kind == 0xff then
			refused(payload)
		elseif kind == 0xfe then
			answer = switch(state, payload)
		elseif kind == 1 then
			answer = continue(state, payload:sub(2))
		else
			packet.broken "a packet that is no part of a login"
		end
		if answer then
			packet.write(sock, answer)
		end
	end
	packet.broken "a login without end"
end

---------------------------------------------------------------------------------------------
-- The exchange

local function begin_tls(sock, greeting, options, head)
	if greeting.capabilities & TLS == 0 then
		error("mysql: the server has no TLS", 0)
	end
	packet.write(sock, head)
	stream.secure(sock, options.tls, options.host)
end

--- Log in.
---@param sock table
---@param options skynet.db.mysql.options  with charset as its number
---@return string version  of the server
function login.run(sock, options)
	packet.begin(sock, 0)
	local greeting = read_greeting(sock)
	local capabilities = CAPABILITIES | (options.tls and TLS or 0) |
		(options.multi_statements == false and 0 or MULTI_STATEMENTS)
	local head = string.pack("<I4I4B", capabilities, options.max_packet_size, options.charset) ..
		("\0"):rep(23)
	if options.tls then
		begin_tls(sock, greeting, options, head)
	end
	local plugin = greeting.plugin
	local state = {
		password = options.password,
		secure = options.tls,
		key = options.server_public_key,
		nonce = greeting.nonce,
		plugin = plugins[plugin] and plugin or "mysql_native_password",
	}
	packet.write(sock, head .. string.pack("zs1zz", options.user, plugins[state.plugin](state),
		options.database, state.plugin))
	prove(sock, state)
	return greeting.version
end

return login
