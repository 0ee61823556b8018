--- A short-lived service of a stress run.
local skynet = require "skynet"

skynet.start(function()
	skynet.dispatch("lua", function(_, _, what)
		if what == "hello" then
			skynet.retpack "hello"
		else -- with "die" the caller's request is never answered
			skynet.exit()
		end
	end)
end)
