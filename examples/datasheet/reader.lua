--- Uses the sheet like a table of its own; the references it keeps stay good when it changes.
local skynet = require "skynet"
local datasheet = require "skynet.datasheet"

local monsters, wolf
local command = {}

function command.describe(name)
	local m = monsters[name]
	return ("a %s has %d hp and drops %s"):format(name, m.hp, table.concat(m.drops, ", "))
end

function command.wait_for_hp(name, hp)
	while monsters[name].hp ~= hp do
		skynet.sleep(1)
	end
	assert(wolf == monsters.wolf)
end

skynet.start(function()
	monsters = datasheet.query "monsters"
	wolf = monsters.wolf
	skynet.dispatch("lua", function(_, _, cmd, ...)
		skynet.retpack(command[cmd](...))
	end)
end)
