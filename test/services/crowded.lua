--- Starts as many C services as its argument says, then ends the node.
local skynet = require "skynet"
require "skynet.manager"

local many = tonumber((...))

skynet.start(function()
	for _ = 1, many do
		assert(skynet.launch "setsession")
	end
	print "all are there"
	skynet.abort()
end)
