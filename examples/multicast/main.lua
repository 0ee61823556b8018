--- Opens a channel, starts listeners, publishes some news, and closes the channel.
local skynet = require "skynet"
local multicast = require "skynet.multicast"
require "skynet.manager"

skynet.start(function()
	local channel = multicast.new()
	local listeners = {}
	for i = 1, 3 do
		listeners[i] = skynet.newservice("listener", i)
		-- a channel travels as its number
		skynet.call(listeners[i], "lua", "listen", channel.channel)
	end
	channel:publish("weather", "sunny")
	channel:publish("sports", 3, 2)
	for _, listener in ipairs(listeners) do
		print(skynet.call(listener, "lua", "heard", 2))
	end
	channel:delete()
	skynet.abort()
end)
