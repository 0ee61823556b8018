--- An account. Whoever changes it holds its lock; a transfer asks the other account meanwhile,
--- which is the mistake: two transfers in opposite directions wait for each other for ever. (It
--- would be right to take the money, leave the lock, and only then ask.)

local skynet = require "skynet"
local queue = require "skynet.queue"

local balance = tonumber((...))
local lock = queue()
local command = {}

function command.deposit(amount)
	return lock(function()
		balance = balance + amount
		return balance
	end)
end

function command.transfer(to, amount)
	return lock(function()
		skynet.sleep(10) -- so that both have begun
		skynet.call(to, "lua", "deposit", amount)
		balance = balance - amount
		return balance
	end)
end

function command.balance()
	return balance
end

skynet.start(function()
	skynet.dispatch("lua", function(_, _, name, ...)
		skynet.retpack(command[name](...))
	end)
end)
