--- Has something to do when the node ends.
local skynet = require "skynet"
local on_shutdown = require "skynet.shutdown"

local slow = ...

skynet.start(function()
	on_shutdown(function()
		skynet.error "hook runs"
		skynet.sleep(slow and 6000 or 5)
		skynet.error "hook ran"
	end)
	skynet.error "hook is set"
end)
