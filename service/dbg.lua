--- Ask the launcher something, print its answer, and end: `dbg list`, `dbg stat 100`.

local skynet = require "skynet"

local words = { ... }

-- Pairs of a table as sorted texts.
local function items(t, join)
	local list = {}
	for key, value in pairs(t) do
		list[#list + 1] = join(tostring(key), value)
	end
	table.sort(list)
	return list
end

local function with_colon(key, value)
	return key .. ":" .. tostring(value)
end

local function line_of(key, value)
	if type(value) == "table" then
		value = table.concat(items(value, with_colon), "\t")
	end
	return key .. "\t" .. tostring(value)
end

local function show(ok, answer)
	if type(answer) == "table" then
		for _, line in ipairs(items(answer, line_of)) do
			print(line)
		end
	elseif answer then
		print(answer)
	end
	print(ok and "<CMD OK>" or "<CMD Error>")
end

skynet.start(function()
	for i = 2, #words do
		words[i] = tonumber(words[i]) or words[i]
	end
	show(pcall(skynet.call, ".launcher", "lua", table.unpack(words)))
	io.stdout:flush()
	skynet.exit()
end)
