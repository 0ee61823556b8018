--- A login server: proves to each other that client and server share a secret, hands the client's
--- token to the application, and tells the client where it is logged in.
--
-- The service that calls it is the master: it listens, and starts itself again as slaves, which
-- speak the protocol and run auth_handler (they find the master's name taken). A connection is
-- the slave's until its token is checked; then the slave lets go of it, unread, and the master
-- writes the reply and closes.

local crypt = require "skynet.crypt"
local driver = require "skynet.socketdriver"
local skynet = require "skynet"
local socket = require "skynet.socket"
require "skynet.manager"

local b64encode, b64decode = crypt.base64encode, crypt.base64decode

local INPUT_LIMIT = 8192 -- bytes
local HANDSHAKE_TIMEOUT = 1500 -- centiseconds
local MAX_HANDSHAKES = 8192 -- at one time
local NO_DIFFERENCE = ("\0"):rep(8)

-- Raised when a client has gone: nobody is left to answer.
local client_gone = setmetatable({}, { __tostring = function() return "the client has gone" end })

local function check_socket(what, value, fd)
	if value then
		return value
	end
	skynet.error(("%s failed: socket (fd = %d) closed"):format(what, fd))
	error(client_gone)
end

--
-- ---- slave ----
--

local function write_line(fd, bytes)
	check_socket("auth", socket.write(fd, b64encode(bytes) .. "\n"), fd)
end

local function read_line(fd)
	return b64decode(check_socket("auth", socket.readline(fd), fd))
end

-- The shared secret, once the client has shown that it has it.
local function exchange(fd)
	local challenge = crypt.randomkey()
	write_line(fd, challenge)
	local client_key = read_line(fd)
	if #client_key ~= 8 then
		error("Invalid client key", 0)
	end
	local key = crypt.randomkey()
	local secret = crypt.dhsecret(client_key, key)
	write_line(fd, crypt.dhexchange(key))
	local expected, mac = crypt.hmac64(challenge, secret), read_line(fd)
	-- takes the same time wherever they differ
	if #mac ~= #expected or crypt.xor_str(mac, expected) ~= NO_DIFFERENCE then
		error("challenge failed", 0)
	end
	return secret
end

local function handshake(fd, from, timeout)
	skynet.error(("connect from %s (fd = %d)"):format(from, fd))
	check_socket("auth", socket.start(fd), fd)
	socket.limit(fd, INPUT_LIMIT)
	local done = false
	skynet.timeout(timeout, function()
		if not done then
			socket.shutdown(fd)
		end
	end)
	local ok, secret, token = pcall(function()
		local secret = exchange(fd)
		return secret, crypt.desdecode(secret, read_line(fd))
	end)
	done = true
	return ok, secret, token
end

-- true, server, uid, secret; false and why; or nil when the client has gone.
local function auth(conf, fd, from)
	local ok, secret, token = handshake(fd, from, conf.handshake_timeout or HANDSHAKE_TIMEOUT)
	if not ok and secret == client_gone then
		error(client_gone)
	end
	-- what it sends from now on stays in the kernel: nobody would take it
	driver.pause(fd)
	socket.abandon(fd)
	if not ok then
		return false, tostring(secret)
	end
	local fine, server, uid = pcall(conf.auth_handler, token)
	if not fine then
		return false, tostring(server)
	end
	return true, server, uid, secret
end

local function run_slave(conf)
	skynet.dispatch("lua", function(_, _, fd, from)
		local result = table.pack(pcall(auth, conf, fd, from))
		if result[1] then
			skynet.ret(skynet.pack(table.unpack(result, 2, result.n)))
		elseif result[2] == client_gone then
			socket.close(fd)
			skynet.ret(skynet.pack(nil))
		else
			socket.close(fd)
			error(result[2], 0)
		end
	end)
end

--
-- ---- master ----
--

local logging_in = {} -- uid -> true

local function reply(fd, line)
	check_socket("login", socket.write(fd, line .. "\n"), fd)
end

-- What comes after a client's token was checked.
local function finish(conf, fd, server, uid, secret)
	if not conf.multilogin then
		if uid == nil then
			reply(fd, "401 Unauthorized")
			error("auth_handler gave no user", 0)
		end
		if logging_in[uid] then
			reply(fd, "406 Not Acceptable")
			error(("User %s is already login"):format(uid), 0)
		end
		logging_in[uid] = true
	end
	local ok, subid = pcall(conf.login_handler, server, uid, secret)
	if not conf.multilogin then
		logging_in[uid] = nil
	end
	if not ok then
		reply(fd, "403 Forbidden")
		error(subid, 0)
	end
	reply(fd, "200 " .. b64encode(tostring(subid or "")))
end

local function serve(conf, slave, fd, from)
	local ok, server, uid, secret = skynet.call(slave, "lua", fd, from)
	if ok == nil then
		error(client_gone)
	end
	if not ok then
		reply(fd, "401 Unauthorized")
		error(server, 0)
	end
	finish(conf, fd, server, uid, secret)
end

-- The slave with the least to do, beginning after the one taken last.
local function chooser(slaves)
	local last = 0
	return function()
		local best
		for i = 1, #slaves do
			local s = slaves[(last + i - 1) % #slaves + 1]
			if not best or s.busy < best.busy then
				best = s
			end
		end
		last = best.number
		return best
	end
end

local function run_master(conf)
	local slaves, pending = {}, 0
	for i = 1, conf.instance or 8 do
		slaves[i] = { number = i, busy = 0, handle = skynet.newservice(SERVICE_NAME) }
	end
	local choose = chooser(slaves)
	local host = conf.host or "0.0.0.0"
	local port = assert(tonumber(conf.port), "loginserver needs a port")

	skynet.dispatch("lua", function(_, _, cmd, ...)
		skynet.ret(skynet.pack(conf.command_handler(cmd, ...)))
	end)

	skynet.error(("login server listen at : %s %d"):format(host, port))
	local id
	id, conf.host, conf.port = socket.listen(host, port)
	socket.start(id, function(fd, from)
		if pending >= MAX_HANDSHAKES then
			return socket.close_fd(fd)
		end
		local slave = choose()
		pending, slave.busy = pending + 1, slave.busy + 1
		local ok, err = pcall(serve, conf, slave.handle, fd, from)
		pending, slave.busy = pending - 1, slave.busy - 1
		if not ok and err ~= client_gone then
			skynet.error(("invalid client (fd = %d) error = %s"):format(fd, err))
		end
		socket.close_fd(fd)
	end)
end

--- Serve logins. `conf` has
--- host ("0.0.0.0"), port: replaced by what it listens on, should port be 0;
--- name: the master's local name, without a dot ("login");
--- instance: number of slaves (8);
--- multilogin: true lets one user log in several times at the same time;
--- auth_handler(token): server, uid; raises to refuse; runs in slaves;
--- login_handler(server, uid, secret): subid; raises to refuse; runs in the master;
--- command_handler(cmd, ...): results of lua commands to the master;
--- handshake_timeout: centiseconds a client has for its part (1,500).
---@param conf table
local function loginserver(conf)
	local name = "." .. (conf.name or "login")
	assert((conf.instance or 8) > 0, "loginserver needs an instance at least")
	for _, handler in ipairs { "auth_handler", "login_handler", "command_handler" } do
		assert(conf[handler], "loginserver needs a " .. handler)
	end
	skynet.start(function()
		if skynet.localname(name) then
			run_slave(conf)
		else
			skynet.register(name)
			run_master(conf)
		end
	end)
end

return loginserver
