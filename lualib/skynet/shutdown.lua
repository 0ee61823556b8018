--- An orderly end: what a service does when the node is asked to end (SIGTERM, SIGINT).
--
-- The launcher asks the services it started, in reverse order. A service with a hook runs it and
-- is waited for, up to the configured shutdown_timeout (seconds, default 5); the others are done
-- at once.

local skynet = require "skynet"
local debug_protocol = require "skynet.debug"

local hooks = {}

debug_protocol.reg_debugcmd("SHUTDOWN", function()
	for i = #hooks, 1, -1 do
		local ok, err = xpcall(hooks[i], debug.traceback)
		if not ok then
			skynet.error("shutdown hook failed: " .. tostring(err))
		end
	end
	hooks = {}
	skynet.retpack(true)
end)

--- Run a function when the node ends. It may block. The last one registered runs first.
---@param hook fun()
return function(hook)
	assert(type(hook) == "function", "skynet.shutdown needs a function")
	hooks[#hooks + 1] = hook
end
