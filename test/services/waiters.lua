--- Services that wait for each other: what the console's `waits` has to find.

local skynet = require "skynet"
local queue = require "skynet.queue"
require "skynet.manager"

local role = ...

local command = {}
local lock = queue()

function command.echo(...)
	return ...
end

function command.hang()
	skynet.wait()
end

-- ask another one while nobody else gets in
function command.locked(addr, ...)
	return lock(skynet.call, addr, "lua", ...)
end

-- ask another one, which asks us; without a lock that's no deadlock
function command.ask(addr, ...)
	return skynet.call(addr, "lua", ...)
end

function command.select(addr, ...)
	for _, resp in skynet.request { addr, "lua", ... }:select() do
		return resp
	end
end

function command.loop()
	while true do end -- luacheck: ignore
end

local function dispatch()
	skynet.dispatch("lua", function(_, _, cmd, ...)
		skynet.retpack(command[cmd](...))
	end)
end

skynet.start(function()
	dispatch()
	if role then
		return
	end
	local a = skynet.newservice("waiters", "a")
	local b = skynet.newservice("waiters", "b")
	skynet.name(".a", a)
	skynet.name(".b", b)
	skynet.newservice("debug_console", 0)
	print("address a", skynet.address(a))
	print("address b", skynet.address(b))
	print("ready")
	io.stdout:flush()
end)
