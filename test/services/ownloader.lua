--- A loader as frameworks bring their own: reads the globals that the host sets, switches the code
--- cache off, and wraps the require of skynet.require.
local args = {}
for word in string.gmatch(..., "%S+") do
	args[#args + 1] = word
end

SERVICE_NAME = args[1]
local cache = require "skynet.codecache"
cache.mode "OFF"

local main
for pattern in string.gmatch(LUA_SERVICE, "([^;]+);*") do
	local f = loadfile((pattern:gsub("%?", SERVICE_NAME)))
	if f then
		main, SERVICE_PATH = f, pattern:match "(.*/)[^/]+$"
		break
	end
end
assert(main, "ownloader: no " .. SERVICE_NAME)

package.path, package.cpath = LUA_PATH, LUA_CPATH
LUA_PATH, LUA_CPATH, LUA_SERVICE = nil, nil, nil
if LUA_PRELOAD then
	assert(loadfile(LUA_PRELOAD))(table.unpack(args))
	LUA_PRELOAD = nil
end

local blocking = require "skynet.require".require
local seen = 0
_G.require = function(name)
	seen = seen + 1
	return blocking(name)
end
OWN_LOADER = function()
	return seen
end
main(select(2, table.unpack(args)))
