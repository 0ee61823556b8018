--- Subscribes to a channel and remembers what it heard.
local skynet = require "skynet"
local multicast = require "skynet.multicast"

local number = ...
local channel
local heard = {}
local command = {}

function command.listen(id)
	channel = multicast.new {
		channel = id,
		dispatch = function(_, _, topic, ...)
			heard[#heard + 1] = topic .. ": " .. table.concat({ ... }, " to ")
		end,
	}
	channel:subscribe()
end

function command.heard(n)
	while #heard < n do
		skynet.sleep(1)
	end
	return ("listener %s heard %s"):format(number, table.concat(heard, "; "))
end

skynet.start(function()
	skynet.dispatch("lua", function(_, _, cmd, ...)
		skynet.retpack(command[cmd](...))
	end)
end)
