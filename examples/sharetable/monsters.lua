-- The data. It runs in a plain Lua state: the standard libraries are there, and the arguments.
local strength = ...

local monsters = {
	goblin = { level = 3, damage = 4 },
	troll = { level = 12, damage = 25 },
	dragon = { level = 40, damage = 180, drops = { "gold", "scale", "gem" } },
}

for _, m in pairs(monsters) do
	m.damage = m.damage * strength
end

return monsters
