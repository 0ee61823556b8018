--- A request/response server over a gate, with sessions that outlive connections.
--
-- A user who has logged in (msgserver.login, usually on behalf of a login server) connects and
-- proves with a message authentication code that he knows the secret. From then on each frame is
-- a request with a session number, and gets an answer with the same number. Answers are kept for
-- a while per user: who reconnects repeats the requests he has no answer for, and the handler
-- runs only for those that it hasn't seen.
--
-- Data: `online`, user by name; `connected`, user by descriptor; `waiting`, address by descriptor
-- of who hasn't shown himself yet. A user has `answers`: session -> {
--   fd = who is to get it,
--   asked = index of the connection that asked last,
--   again = the same, if it asked while the handler ran,
--   body = the frame, once there is one,
--   stamp = its age as a count of answers }.

local crypt = require "skynet.crypt"
local driver = require "skynet.socketdriver"
local gateserver = require "snax.gateserver"
local netpack = require "skynet.netpack"
local skynet = require "skynet"

local b64encode, b64decode = crypt.base64encode, crypt.base64decode

local HANDSHAKE_TIMEOUT = 1500 -- centiseconds
local CACHE_BYTES = 1024 * 1024
local NO_DIFFERENCE = ("\0"):rep(8)

local msgserver = {}

local online = {}
local connected = {}
local waiting = {}

--- The name by which a user's clients introduce themselves.
---@param uid string
---@param subid any  tells logins of one user apart
---@param servername string
---@return string
function msgserver.username(uid, subid, servername)
	return ("%s@%s#%s"):format(b64encode(uid), b64encode(servername), b64encode(tostring(subid)))
end

--- The parts of a user's name.
---@param username string
---@return string uid, string subid, string servername
function msgserver.userid(username)
	local uid, servername, subid = username:match "([^@]*)@([^#]*)#(.*)"
	assert(uid, "not a user's name")
	return b64decode(uid), b64decode(subid), b64decode(servername)
end

--- Let a user's clients in. Raises when he is online already.
---@param username string
---@param secret string  8 bytes
function msgserver.login(username, secret)
	assert(online[username] == nil, "the user is online already")
	online[username] = {
		username = username,
		secret = secret,
		index = 0, -- of the newest connection
		connections = {}, -- fd -> true
		answers = {},
		count = 0, -- of answers, since the last retirement
		bytes = 0, -- of all answers
	}
end

--- Close a user's connections and forget him; nothing when he isn't online.
---@param username string
function msgserver.logout(username)
	local user = online[username]
	online[username] = nil
	for fd in pairs(user and user.connections or {}) do
		connected[fd] = nil
		gateserver.closeclient(fd)
	end
end

--- Where a user's newest connection comes from; nil when he has none.
---@param username string
---@return string? "ip:port"
function msgserver.ip(username)
	local user = online[username]
	return user and user.fd and user.ip
end

--
-- ---- the answers of a user ----
--

local function drop_answer(user, session)
	local answer = user.answers[session]
	if answer then
		user.answers[session] = nil
		user.bytes = user.bytes - (answer.body and #answer.body or 0)
	end
end

-- Forget the oldest answers until half of the limit is left.
local function shrink(user)
	local sessions = {}
	for session, answer in pairs(user.answers) do
		if answer.body then
			sessions[#sessions + 1] = session
		end
	end
	table.sort(sessions, function(a, b)
		return user.answers[a].stamp < user.answers[b].stamp
	end)
	for _, session in ipairs(sessions) do
		if user.bytes <= CACHE_BYTES // 2 then
			return
		end
		drop_answer(user, session)
	end
end

-- Count an answer; after `keep` more than the last `keep`, the older ones go.
local function count_answer(user, answer, keep)
	answer.stamp = user.count
	user.count = user.count + 1
	if user.bytes > CACHE_BYTES then
		shrink(user)
	end
	if user.count < keep * 2 then
		return
	end
	for session, a in pairs(user.answers) do
		if a.body then
			if a.stamp < keep then
				drop_answer(user, session)
			else
				a.stamp = a.stamp - keep
			end
		end
	end
	user.count = user.count - keep
end

-- Run the handler and make its answer a frame.
local function run(conf, user, session, text)
	local ok, result = pcall(function()
		return (conf.request_handler(user.username, text) or "") .. ""
	end)
	if not ok then
		skynet.error(result)
		result = ""
	end
	return (">s2"):pack(result .. (">BI4"):pack(ok and 1 or 0, session))
end

-- The answer's frame, once there is one, goes to who asked last.
local function deliver(user, answer)
	local fd = answer.fd
	answer.fd = nil
	if fd and connected[fd] == user then
		driver.send(fd, answer.body)
	end
end

-- A session's number that comes again: true when its answer is, or will be, the one there is.
local function repeated(user, fd, session, answer)
	if answer.body and answer.asked == user.index then
		-- the number is used anew on the same connection
		drop_answer(user, session)
		return false
	end
	if not answer.body then
		if answer.again == user.index then
			error("Conflict session " .. crypt.hexencode(tostring(session)), 0)
		end
		answer.again = user.index
	end
	answer.fd, answer.asked = fd, user.index
	return true
end

local function new_answer(conf, user, fd, session, text)
	local answer = { fd = fd, asked = user.index }
	user.answers[session] = answer
	local ok, body = pcall(run, conf, user, session, text)
	if not ok then
		drop_answer(user, session)
		error(body, 0)
	end
	answer.body = body
	user.bytes = user.bytes + #body
	return answer
end

local function request(conf, user, fd, frame)
	assert(#frame >= 4, "no session")
	local session = (">I4"):unpack(frame, #frame - 3)
	local answer = user.answers[session]
	if not answer or not repeated(user, fd, session, answer) then
		answer = new_answer(conf, user, fd, session, frame:sub(1, -5))
	end
	if answer.body then
		deliver(user, answer)
		count_answer(user, answer, conf.expired_number or 128)
	end
end

--
-- ---- connections ----
--

-- The reply to the first frame of a connection.
local function check(fd, from, text)
	local username, index, mac = text:match "^([^:]*):([^:]*):([^:]*)$"
	local user = online[username]
	if not user then
		return "404 User Not Found"
	end
	local n = assert(math.tointeger(tonumber(index)), "the index isn't a whole number")
	mac = b64decode(mac)
	if n <= user.index then
		return "403 Index Expired"
	end
	local expected = crypt.hmac_hash(user.secret, username .. ":" .. index)
	-- takes the same time wherever they differ
	if #mac ~= #expected or crypt.xor_str(mac, expected) ~= NO_DIFFERENCE then
		return "401 Unauthorized"
	end
	user.index, user.fd, user.ip = n, fd, from
	user.connections[fd] = true
	connected[fd] = user
	return "200 OK"
end

local function welcome(fd, text)
	local from = waiting[fd]
	waiting[fd] = nil
	local ok, reply = pcall(check, fd, from, text)
	if not ok then
		skynet.error(("Bad request of %s : %s"):format(from, reply))
		reply = "400 Bad Request"
	end
	driver.send(fd, (">s2"):pack(reply))
	if reply ~= "200 OK" then
		gateserver.closeclient(fd)
	end
end

-- What an unfriendly client sent, fit for a log.
local function printable(text)
	return (text:sub(1, 64):gsub("[^\x20-\x7e]", function(c)
		return ("\\x%02x"):format(c:byte())
	end))
end

local function forget(fd)
	local user = connected[fd]
	connected[fd], waiting[fd] = nil, nil
	if user then
		user.connections[fd] = nil
	end
	return user
end

local function gate_handler(conf)
	local handler = {}

	function handler.open(_, gate)
		assert(gate.servername, "a msgserver's gate needs a servername")
		return conf.register_handler(gate.servername, gate)
	end

	function handler.connect(fd, from)
		waiting[fd] = from
		gateserver.openclient(fd)
		skynet.timeout(conf.handshake_timeout or HANDSHAKE_TIMEOUT, function()
			if waiting[fd] then
				forget(fd)
				gateserver.closeclient(fd)
			end
		end)
	end

	function handler.message(fd, msg, sz)
		local text = netpack.tostring(msg, sz)
		if waiting[fd] then
			return welcome(fd, text)
		end
		local user = connected[fd]
		if not user then
			return -- closed by us while this frame was on its way
		end
		local ok, err = pcall(request, conf, user, fd, text)
		if not ok then
			skynet.error(("Invalid package %s : %s"):format(err, printable(text)))
			gateserver.closeclient(fd)
		end
	end

	-- Also when the newest connection is another one by now; the user is gone only with that.
	function handler.disconnect(fd)
		local user = forget(fd)
		gateserver.closeclient(fd)
		if user and user.fd == fd then
			user.fd = nil
			if conf.disconnect_handler then
				conf.disconnect_handler(user.username)
			end
		end
	end

	handler.error = handler.disconnect

	local commands = { login = "login_handler", logout = "logout_handler", kick = "kick_handler" }

	function handler.command(cmd, _, ...)
		return conf[assert(commands[cmd], "unknown command")](...)
	end

	return handler
end

--- Serve. `conf` has
--- login_handler(uid, secret, ...), logout_handler(uid, subid), kick_handler(uid, subid): for the
--- lua commands login, logout and kick, whose results they return;
--- request_handler(username, text): the answer to a request, at most 65,530 bytes, nil for an
--- empty one; may block;
--- register_handler(servername, gate): called when the gate has opened; its results are the
--- reply; gate.address and gate.port are where it listens;
--- disconnect_handler(username): optional, the user's newest connection has ended;
--- expired_number: how many answers are kept for a user at least (128);
--- handshake_timeout: centiseconds a client has for its first frame (1,500).
---@param conf table
function msgserver.start(conf)
	for _, name in ipairs {
		"login_handler", "logout_handler", "kick_handler", "request_handler", "register_handler",
	} do
		assert(conf[name], "msgserver needs a " .. name)
	end
	gateserver.start(gate_handler(conf))
end

return msgserver
