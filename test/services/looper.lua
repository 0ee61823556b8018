--- Never returns from its start function.

local skynet = require "skynet"

skynet.start(function()
	print "looping"
	io.stdout:flush()
	while true do end -- luacheck: ignore
end)
