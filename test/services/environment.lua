--- Prints what the loader left to a service.
local skynet = require "skynet"

local args = table.pack(...)
local function show(...)
	print(...)
	io.stdout:flush()
end

show("args", args.n, table.unpack(args, 1, args.n))
show("names", SERVICE_NAME, SERVICE_PATH)
show("globals", LUA_SERVICE, LUA_PATH, LUA_CPATH, LUA_PRELOAD)
show("path", package.path)
show("cpath", package.cpath)
show("preloaded", PRELOADED)
show("require", require == require "skynet.require".require)
show("resume", coroutine.resume == require "skynet.profile".resume)
show("type of args", type(args[1]))

skynet.start(function()
	show("old names", pcall(function()
		return require "socket" == require "skynet.socket", require "redis"
	end))
	show "environment is done"
end)
