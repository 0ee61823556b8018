--- Finds and runs a service's script. snlua calls this file with the service's whole parameter:
--- the service's name and its arguments, separated by blanks.

local words = {}
for word in string.gmatch(..., "%S+") do
	words[#words + 1] = word
end
local name = words[1] or error "a service needs a name: the parameter of snlua is empty"

SERVICE_NAME = name

-- `%` means something in a replacement text
local function fill(template)
	return (template:gsub("%?", (name:gsub("%%", "%%%%"))))
end

local main, pattern
do
	local failed = {}
	for template in string.gmatch(LUA_SERVICE, "([^;]+);*") do
		local f, err = loadfile(fill(template))
		if f then
			main, pattern = f, template
			break
		end
		failed[#failed + 1] = err
	end
	if not main then
		error(table.concat(failed, "\n"))
	end
end

LUA_SERVICE = nil
package.path, LUA_PATH = LUA_PATH, nil
package.cpath, LUA_CPATH = LUA_CPATH, nil

-- a service that has a folder of its own (dir/?/main.lua) finds its modules there
local folder = pattern:match "^(.*/)[^/?]+$"
if folder then
	SERVICE_PATH = fill(folder)
	package.path = SERVICE_PATH .. "?.lua;" .. package.path
else
	SERVICE_PATH = pattern:match "^(.*/).+$"
end

if LUA_PRELOAD then
	local preload = assert(loadfile(LUA_PRELOAD))
	preload(table.unpack(words))
	LUA_PRELOAD = nil
end

_G.require = require "skynet.require".require

main(select(2, table.unpack(words)))
