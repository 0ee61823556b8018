--- Two services: this one starts a counter and asks it.
local skynet = require "skynet"

skynet.start(function()
	local counter = skynet.newservice "counter"
	skynet.call(counter, "lua", "add", 40)
	skynet.send(counter, "lua", "add", 2)
	print("the counter says", skynet.call(counter, "lua", "get"))
	require("skynet.manager").abort()
end)
