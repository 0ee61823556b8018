--- A msgserver under test, or (argument "main") the service that starts one and logs users in.
--- Requests: "echo..." comes back; "count" says how often the handler ran; "slow" takes a second;
--- "raise" fails; "big N" is N bytes; "nothing" is empty; "logout" ends the user's session; "ip".

local skynet = require "skynet"

if (...) == "main" then
	skynet.start(function()
		io.stdout:setvbuf "line"
		local server = skynet.newservice "msgnode"
		local name, port = skynet.call(server, "lua", "open",
			{ address = "127.0.0.1", port = 0, maxclient = 2048, backlog = 512, servername = "sample" })
		assert(name == "sample")
		local secret = "\x32\x86\xb1\xe3\x8e\x2c\x86\x07"
		print("username " .. skynet.call(server, "lua", "login", "hello", secret))
		skynet.call(server, "lua", "login", "other", secret)
		assert(not pcall(skynet.call, server, "lua", "login", "hello", secret))
		assert(not pcall(skynet.call, server, "lua", "nosuch"))
		skynet.call(server, "lua", "logout", "nobody", 1)
		print("listening at port " .. port)
	end)
	return
end

local msgserver = require "snax.msgserver"

local runs = 0
local requests = {}

function requests.slow()
	skynet.sleep(100)
	return "slept"
end

function requests.raise()
	error "the handler raises"
end

function requests.count()
	return tostring(runs)
end

function requests.nothing()
	return nil
end

function requests.ip(username)
	return msgserver.ip(username)
end

function requests.logout(username)
	msgserver.logout(username)
end

local conf = { expired_number = 8, handshake_timeout = 200 }

function conf.register_handler(name, gate)
	return name, gate.port
end

function conf.login_handler(uid, secret)
	local username = msgserver.username(uid, 1, "sample")
	msgserver.login(username, secret)
	local u, subid, server = msgserver.userid(username)
	assert(u == uid and subid == "1" and server == "sample")
	return username
end

function conf.logout_handler(uid, subid)
	msgserver.logout(msgserver.username(uid, subid, "sample"))
end

conf.kick_handler = conf.logout_handler

function conf.request_handler(username, text)
	runs = runs + 1
	local size = text:match "^big (%d+)$"
	if size then
		return ("x"):rep(tonumber(size))
	end
	local f = requests[text]
	if f then
		return f(username)
	end
	return text
end

function conf.disconnect_handler(username)
	print("disconnected " .. username)
end

io.stdout:setvbuf "line"
msgserver.start(conf)
