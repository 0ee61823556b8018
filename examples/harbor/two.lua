--- Node 2: calls node 1 by a global name, by an address, and shares its unique service.
local skynet = require "skynet"
local harbor = require "skynet.harbor"

skynet.start(function()
	-- to a name nobody has registered yet the call would wait
	print("by name", skynet.call("GREETER", "lua", "node 2"))
	local address = harbor.queryname "GREETER"
	print("address, harbor", skynet.address(address), (skynet.harbor(address)))
	print("by address", skynet.call(address, "lua", "node 2 again"))
	local board = skynet.uniqueservice(true, "board") -- node 1 has started it
	print("Ann's score", skynet.call(board, "lua", "add", "Ann", 4))
	print("a call that fails", pcall(skynet.call, 0x01ffffff, "lua"))
	print "node 2 is done"
	io.stdout:flush()
end)
