--- Node 1: answers under the global name GREETER, and follows node 2.
local skynet = require "skynet"
local harbor = require "skynet.harbor"
require "skynet.manager" -- for register

local function follow(id)
	while true do
		harbor.connect(id)
		print(("node %d is here"):format(id))
		io.stdout:flush()
		harbor.link(id) -- returns when the link ends
		print(("node %d is gone"):format(id))
		io.stdout:flush()
	end
end

skynet.start(function()
	local board = skynet.uniqueservice(true, "board")
	skynet.call(board, "lua", "add", "Ann", 3)
	skynet.dispatch("lua", function(_, source, who)
		skynet.retpack(("hello %s at %s"):format(who, skynet.address(source)))
	end)
	skynet.register "GREETER" -- no dot: known on all nodes
	skynet.fork(follow, 2)
	print "node 1 is ready"
	io.stdout:flush()
end)
