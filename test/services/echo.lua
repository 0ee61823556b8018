--- Answers requests in the ways that specs need.

local skynet = require "skynet"
require "skynet.manager"

local command = {}

function command.echo(...)
	skynet.retpack(...)
end

function command.boom(text)
	error(text)
end

function command.sleep(cs, ...)
	skynet.sleep(cs)
	skynet.retpack(...)
end

function command.never() end

function command.hang()
	skynet.wait()
end

function command.exit()
	skynet.exit()
end

function command.response(cs)
	local r = skynet.response()
	skynet.timeout(cs, function()
		r(true, "late")
	end)
end

function command.keep()
	KEEP = skynet.response()
end

function command.loop()
	while true do end -- luacheck: ignore
end

skynet.start(function()
	skynet.dispatch("lua", function(_, _, cmd, ...)
		command[cmd](...)
	end)
end)
