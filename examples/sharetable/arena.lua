--- A reader: keeps references to the shared table and to a table inside it.

local skynet = require "skynet"
local sharetable = require "skynet.sharetable"
local file = ...

local monsters, goblin
local command = {}

function command.fight(name)
	local m = monsters[name]
	return ("%s of level %d hits for %g"):format(name, m.level, m.damage), goblin == monsters.goblin
end

-- Every reference of this service moves on to the new version: the upvalues above, too.
function command.update()
	sharetable.update(file)
end

-- Nobody can write: not even to a copy of his own, since there is none.
function command.cheat()
	local ok, err = pcall(function()
		monsters.goblin.damage = 0
	end)
	return ok and "cheated" or err:match "attempt.*"
end

skynet.start(function()
	monsters = sharetable.query(file)
	goblin = monsters.goblin
	skynet.dispatch("lua", function(_, _, cmd, ...)
		skynet.retpack(command[cmd](...))
	end)
end)
