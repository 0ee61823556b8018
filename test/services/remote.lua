--- Runs the Lua text it's sent, in an environment that lasts: for specs that need another VM.

local skynet = require "skynet"
require "skynet.manager"

local env = setmetatable({ skynet = skynet }, { __index = _G })

skynet.start(function()
	skynet.dispatch("lua", function(session, _, text, ...)
		local f = assert(load(text, "=remote", "t", env))
		if session == 0 then
			f(...)
		else
			skynet.retpack(f(...))
		end
	end)
end)
