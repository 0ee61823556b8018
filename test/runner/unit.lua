--- A service that runs a busted spec in a coroutine of its own, so that specs can block.

local skynet = require "skynet"
local core = require "skynet.core"
require "skynet.manager"

local spec = ...

local function run()
	arg = { [0] = "busted", "-o", "TAP", spec }
	local code
	-- busted ends the process; here only the run is over
	local exit = os.exit
	os.exit = function(c) -- luacheck: ignore
		code = c
		error "busted has ended"
	end
	io.stdout:setvbuf "line"
	local ok, err = pcall(function()
		require "busted.runner" { standalone = false }
	end)
	os.exit = exit -- luacheck: ignore
	if code == nil and not ok then
		print("not ok - " .. spec .. ": " .. tostring(err))
		code = 1
	end
	return (code == true or code == 0 or code == nil) and 0 or 1
end

skynet.start(function()
	skynet.timeout(0, function()
		local code = run()
		if code ~= 0 then
			core.command("ABORT", "1")
		else
			core.command "ABORT"
		end
	end)
end)
