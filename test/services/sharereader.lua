-- A reader of shared tables, for specs and benchmarks: `run` executes a chunk in this service.

local skynet = require "skynet"
local sharetable = require "skynet.sharetable"

local env = setmetatable({ skynet = skynet, sharetable = sharetable, keep = {} }, { __index = _G })

local command = {}

function command.run(source, ...)
	return assert(load(source, "=run", "t", env))(...)
end

function command.exit()
	skynet.exit()
end

skynet.start(function()
	skynet.dispatch("lua", function(session, _, cmd, ...)
		if session == 0 then
			command[cmd](...)
		else
			skynet.retpack(command[cmd](...))
		end
	end)
end)
