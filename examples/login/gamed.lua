--- A game server: a msgserver that gives each player an agent. Argument: the login server.

local msgserver = require "snax.msgserver"
local skynet = require "skynet"

local login = tonumber((...))
local server -- its name
local agents = {} -- name of a logged-in player -> his agent
local last_subid = 0

local conf = {}

-- The gate has opened.
function conf.register_handler(name, gate)
	server = name
	skynet.call(login, "lua", "register", name, skynet.self())
	return gate.port
end

-- From the login server: a player is about to connect.
function conf.login_handler(user, secret)
	last_subid = last_subid + 1
	local username = msgserver.username(user, last_subid, server)
	agents[username] = skynet.newservice("agent", user)
	msgserver.login(username, secret)
	return last_subid
end

local function leave(user, subid)
	local username = msgserver.username(user, subid, server)
	msgserver.logout(username)
	if agents[username] then
		skynet.send(agents[username], "lua", "leave")
		agents[username] = nil
	end
end

-- From the login server: the player logs in anew.
conf.kick_handler = leave

function conf.logout_handler(user, subid)
	leave(user, subid)
	skynet.call(login, "lua", "left", user, subid)
end

function conf.request_handler(username, text)
	if text == "logout" then
		local user, subid = msgserver.userid(username)
		skynet.fork(conf.logout_handler, user, tonumber(subid))
		return "bye"
	end
	return skynet.call(agents[username], "lua", "request", text)
end

function conf.disconnect_handler(username)
	skynet.error(msgserver.userid(username) .. " has lost the connection")
end

msgserver.start(conf)
