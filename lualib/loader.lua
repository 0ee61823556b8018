--- Finds and runs a service's script. snlua calls this file with the service's whole parameter:
--- the service's name and its arguments, separated by blanks.

local words = {}
for word in string.gmatch(..., "%S+") do
	words[#words + 1] = word
end
local name = words[1] or error "a service needs a name: the parameter of snlua is empty"

SERVICE_NAME = name

local function fill(template)
	local path = ""
	local from = 1
	local at = template:find("?", 1, true)
	while at do
		path = path .. template:sub(from, at - 1) .. name
		from = at + 1
		at = template:find("?", from, true)
	end
	return path .. template:sub(from)
end

-- The next template from this place of the path on, and where the rest begins.
local function next_template(from)
	local at = LUA_SERVICE:find(";", from, true) or #LUA_SERVICE + 1
	return LUA_SERVICE:sub(from, at - 1), at + 1
end

local main, pattern
do
	local failed = {}
	local from, template = 1
	while not main and from <= #LUA_SERVICE do
		template, from = next_template(from)
		if template ~= "" then
			main, failed[#failed + 1] = loadfile(fill(template))
			pattern = template
		end
	end
	if not main then
		error(table.concat(failed, "\n"))
	end
end

LUA_SERVICE = nil
package.path, LUA_PATH = LUA_PATH, nil
package.cpath, LUA_CPATH = LUA_CPATH, nil

-- a service that has a folder of its own (dir/?/main.lua) finds its modules there
local slash = pattern:find "/[^/]*$"
SERVICE_PATH = slash and pattern:sub(1, slash)
if slash and not pattern:find("?", slash, true) then
	SERVICE_PATH = fill(SERVICE_PATH)
	package.path = SERVICE_PATH .. "?.lua;" .. package.path
end

if LUA_PRELOAD then
	local preload = assert(loadfile(LUA_PRELOAD))
	preload(table.unpack(words))
	LUA_PRELOAD = nil
end

_G.require = require "skynet.require".require

main(select(2, table.unpack(words)))
