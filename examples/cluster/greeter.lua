--- Greets; other nodes reach it as "@greeter".
local skynet = require "skynet"

skynet.start(function()
	skynet.dispatch("lua", function(_, _, cmd, who)
		assert(cmd == "greet", "greeter: the only command is greet")
		skynet.retpack(("hello %s, this is node front"):format(who))
	end)
end)
