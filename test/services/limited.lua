--- A service with a limit on its mailbox. "hold" keeps it busy until cell 201 of the ledger is 1
--- (cell 200 tells that it began); "ask" calls the sender back first.
local ledger = require "ledger"
local skynet = require "skynet"

local count, answer = 0, nil

local command = {}

function command.limit(...)
	skynet.mqlimit(...)
	skynet.ret()
end

function command.hold()
	ledger.set(200, 1)
	while ledger.get(201) == 0 do end
end

function command.ask(who)
	skynet.ret()
	answer = skynet.call(who, "lua", "question")
end

function command.add()
	count = count + 1
end

function command.get()
	skynet.retpack(count, answer)
end

skynet.start(function()
	skynet.dispatch("lua", function(_, _, what, ...)
		command[what](...)
	end)
end)
