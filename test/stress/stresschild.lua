--- A short-lived service of a stress run.
local skynet = require "skynet"
local cell = require "cells"
local ledger = require "ledger"

-- Who started it may have died before it could end it.
local function end_with_round()
	while ledger.get(cell.stop) == 0 do
		skynet.sleep(20)
	end
	skynet.exit()
end

local use = ...

skynet.start(function()
	if use ~= "warm" then
		skynet.fork(end_with_round)
	end
	skynet.dispatch("lua", function(_, _, what)
		if what == "hello" then
			skynet.retpack "hello"
		else -- with "die" the caller's request is never answered
			skynet.exit()
		end
	end)
end)
