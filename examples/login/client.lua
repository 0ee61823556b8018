--- A player's program, for the plain interpreter:
---   3rd/lua/lua examples/login/client.lua LOGIN_PORT GAME_PORT USER PASSWORD
--
-- It logs in, earns, loses its connection before an answer has come, connects again, and repeats
-- the request: which the server doesn't carry out twice.

package.cpath = "luaclib/?.so;" .. package.cpath

local crypt = require "client.crypt"
local socket = require "client.socket"

local HOST, SERVER = "127.0.0.1", "eden"
local login_port, game_port, user, password = ...
login_port, game_port = assert(tonumber(login_port)), assert(tonumber(game_port))

-- A stream of bytes that is read line by line, or frame by frame.
local stream = {}
stream.__index = stream

local function connect(port)
	return setmetatable({ fd = socket.connect(HOST, port), unread = "" }, stream)
end

-- Cut what `take` finds at the beginning of the unread bytes; waits until it finds something.
function stream:read(take)
	while true do
		local result, rest = take(self.unread)
		if result then
			self.unread = rest
			return result
		end
		local bytes = socket.recv(self.fd)
		if bytes == "" then
			error "the server has closed the connection"
		elseif bytes then
			self.unread = self.unread .. bytes
		else
			socket.usleep(1000)
		end
	end
end

function stream:line()
	return self:read(function(s)
		return s:match "^(.-)\n(.*)$"
	end)
end

function stream:frame()
	return self:read(function(s)
		if #s >= 2 and #s >= 2 + (">I2"):unpack(s) then
			local frame, next_byte = (">s2"):unpack(s)
			return frame, s:sub(next_byte)
		end
	end)
end

function stream:close()
	socket.close(self.fd)
end

--
-- ---- logging in ----
--

local function login()
	local s = connect(login_port)
	local function say(bytes)
		socket.send(s.fd, crypt.base64encode(bytes) .. "\n")
	end
	local challenge = crypt.base64decode(s:line())
	local key = crypt.randomkey()
	say(crypt.dhexchange(key))
	local secret = crypt.dhsecret(crypt.base64decode(s:line()), key)
	say(crypt.hmac64(challenge, secret))
	say(crypt.desencode(secret, ("%s@%s:%s"):format(
		crypt.base64encode(user), crypt.base64encode(SERVER), crypt.base64encode(password))))
	local code, subid = s:line():match "^(%d+) (.*)$"
	s:close()
	if code ~= "200" then
		print("refused: " .. code .. " " .. subid)
		os.exit(1)
	end
	return secret, crypt.base64decode(subid)
end

--
-- ---- playing ----
--

local secret, subid = login()
print("logged in as number " .. subid)

local index = 0 -- of our connections

local function enter()
	index = index + 1
	local s = connect(game_port)
	local hello = ("%s@%s#%s:%d"):format(crypt.base64encode(user), crypt.base64encode(SERVER),
		crypt.base64encode(subid), index)
	local mac = crypt.hmac64(crypt.hashkey(hello), secret)
	socket.send(s.fd, (">s2"):pack(hello .. ":" .. crypt.base64encode(mac)))
	local reply = s:frame()
	assert(reply == "200 OK", reply)
	return s
end

local function send(s, session, text)
	socket.send(s.fd, (">s2"):pack(text .. (">I4"):pack(session)))
end

local function receive(s)
	local frame = s:frame()
	local ok, session = (">BI4"):unpack(frame, #frame - 4)
	return session, ok == 1 and frame:sub(1, -6) or "(refused)"
end

local function ask(s, session, text)
	send(s, session, text)
	local answered, answer = receive(s)
	assert(answered == session)
	print(("%-8s -> %s"):format(text, answer))
end

local game = enter()
ask(game, 1, "earn 10")
send(game, 2, "earn 5")
socket.usleep(200000) -- the server has it; the answer is lost
game:close()
print "connection lost"

game = enter()
print "connected again"
ask(game, 2, "earn 5")
ask(game, 3, "purse")
ask(game, 4, "dance")
ask(game, 5, "logout")
game:close()
