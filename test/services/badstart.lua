--- Fails to start in the way its argument says, or starts slowly.

local skynet = require "skynet"

local how = ...

if how == "main" then
	error "the main chunk fails"
end

if how == "init" then
	skynet.init(function()
		error "the init hook fails"
	end)
end

skynet.start(function()
	if how == "start" then
		error "the start function fails"
	elseif how == "exit" then
		skynet.exit()
	elseif how == "slow" then
		skynet.sleep(5)
	elseif how == "wait" then
		skynet.wait()
	end
	skynet.dispatch("lua", function()
		skynet.retpack(true)
	end)
end)
