--- The login server: knows who may log in, and on which game server everybody is.
--
-- A client's token is base64 of user, server and password: "user@server:password".

local crypt = require "skynet.crypt"
local loginserver = require "snax.loginserver"
local skynet = require "skynet"

local passwords = { alice = "wonderland", bob = "builder" }

local servers = {} -- name -> game server's handle
local players = {} -- user -> { server =, subid = }

local conf = {
	host = "127.0.0.1",
	port = tonumber(os.getenv "LOGIN_PORT") or 8001,
	name = "logind",
	instance = 4,
}

-- Runs in a slave: only what the token says.
function conf.auth_handler(token)
	local user, server, password = token:match "^([^@]+)@([^:]+):(.+)$"
	assert(user, "a token is user@server:password")
	user, server = crypt.base64decode(user), crypt.base64decode(server)
	assert(passwords[user] == crypt.base64decode(password), "wrong user or password")
	return server, user
end

-- Runs in the master, one login of a user at a time.
function conf.login_handler(server, user, secret)
	local game = assert(servers[server], "there is no such game server")
	local old = players[user]
	if old then
		skynet.call(servers[old.server], "lua", "kick", user, old.subid)
	end
	local subid = skynet.call(game, "lua", "login", user, secret)
	players[user] = { server = server, subid = subid }
	return subid
end

local commands = {}

-- A game server has opened.
function commands.register(name, handle)
	servers[name] = handle
end

-- A player has left his game server.
function commands.left(user, subid)
	if players[user] and players[user].subid == subid then
		players[user] = nil
	end
end

function commands.port()
	return conf.port
end

function conf.command_handler(cmd, ...)
	return assert(commands[cmd], "no such command")(...)
end

loginserver(conf)
