--- What stands between a console and a service that is debugged: it owns the debug channel, and
--- is gone when the session is over.

local debugchannel = require "skynet.debugchannel"
local skynet = require "skynet"

local PATIENCE = 300 -- cs

local command = {}
local channel

-- A C service never answers, a stuck one not soon.
local function answers(address)
	local ok = false
	for _, resp in skynet.request { address, "debug", "PING" }:select(PATIENCE) do
		ok = resp and true or false
	end
	return ok
end

--- Debug the service until it's left; the service writes to socket `fd` itself.
---@param address integer
---@param fd integer
function command.start(address, fd)
	assert(channel == nil, "the debug agent serves one session")
	local handle
	channel, handle = debugchannel.create()
	skynet.error(("Attach to :%08x"):format(address))
	local ok = answers(address) and pcall(skynet.call, address, "debug", "REMOTEDEBUG", fd, handle)
	skynet.retpack(ok)
	skynet.exit()
end

--- Pass a line on.
---@param line string
function command.cmd(line)
	channel:write(line)
end

function command.ping()
	skynet.ret()
end

skynet.start(function()
	skynet.dispatch("lua", function(_, _, cmd, ...)
		local f = assert(command[cmd], cmd)
		f(...)
	end)
end)
