--- A login server under test; with argument "main" the service that starts it. The token is
--- "user@server:password". Users: "forbidden" is refused by the application, "slow" takes a second
--- to log in, "nosub" gets no subid.

local skynet = require "skynet"

if (...) == "main" then
	skynet.start(function()
		io.stdout:setvbuf "line"
		local server = skynet.newservice "loginnode"
		assert(skynet.localname ".login_test" == server)
		local a, b, c = skynet.call(server, "lua", "three", 1, 2)
		assert(a == 1 and b == 2 and c == nil)
		print("listening at port " .. skynet.call(".login_test", "lua", "port"))
	end)
	return
end

local login = require "snax.loginserver"

local conf = {
	host = "127.0.0.1",
	port = 0,
	name = "login_test",
	instance = 3,
	handshake_timeout = 200,
}

function conf.auth_handler(token)
	local user, server, password = token:match "^(.*)@(.*):(.*)$"
	assert(password == "password", "wrong password")
	return server, user
end

local logins = 0

function conf.login_handler(server, uid, secret)
	assert(server == "sample" and #secret == 8)
	if uid == "forbidden" then
		error "the application refuses"
	elseif uid == "slow" then
		skynet.error "slow login begins"
		skynet.sleep(100)
	elseif uid == "nosub" then
		return
	end
	logins = logins + 1
	return logins
end

function conf.command_handler(cmd, ...)
	if cmd == "port" then
		return conf.port
	end
	return ...
end

login(conf)
