--- What one player has: a purse. Argument: the player's name.
local skynet = require "skynet"

local user = ...
local purse = 0

local requests = {}

function requests.earn(amount)
	purse = purse + (tonumber(amount) or 0)
	return ("%s has %g"):format(user, purse)
end

function requests.purse()
	return ("%s has %g"):format(user, purse)
end

local commands = {}

function commands.request(text)
	local name, argument = text:match "^(%a+) ?(.*)$"
	return assert(requests[name], "no such request")(argument)
end

skynet.start(function()
	skynet.dispatch("lua", function(_, _, cmd, ...)
		if cmd == "leave" then
			skynet.exit()
		end
		skynet.retpack(commands[cmd](...))
	end)
end)
