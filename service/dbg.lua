--- Ask the launcher something, print its answer, and end: `dbg list`, `dbg stat 100`.

local skynet = require "skynet"

local words = { ... }

local function line_of(key, value)
	if type(value) ~= "table" then
		return ("%s\t%s"):format(key, tostring(value))
	end
	local items = {}
	for k, v in pairs(value) do
		items[#items + 1] = ("%s:%s"):format(k, v)
	end
	table.sort(items)
	return ("%s\t%s"):format(key, table.concat(items, "\t"))
end

skynet.start(function()
	for i = 2, #words do
		words[i] = tonumber(words[i]) or words[i]
	end
	local answer = skynet.call(".launcher", "lua", table.unpack(words))
	local lines = {}
	for key, value in pairs(type(answer) == "table" and answer or {}) do
		lines[#lines + 1] = line_of(key, value)
	end
	table.sort(lines)
	print(#lines > 0 and table.concat(lines, "\n") or tostring(answer))
	print "<CMD OK>"
	skynet.exit()
end)
