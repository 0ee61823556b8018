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
	elseif how == "slow" then
		skynet.sleep(5)
	end
	skynet.dispatch("lua", function()
		skynet.retpack(true)
	end)
end)
