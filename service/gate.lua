--- The gate: reports connections to a watchdog, and carries each client's frames to its agent.

local gateserver = require "snax.gateserver"
local netpack = require "skynet.netpack"
local skynet = require "skynet"

skynet.register_protocol { name = "client", id = skynet.PTYPE_CLIENT }

-- fd -> false: nobody gets its frames but the watchdog; or { agent =, client = }
local route = {}
local watchdog

local function report(event, ...)
	skynet.send(watchdog, "lua", "socket", event, ...)
end

local gate = {}

function gate.open(source, conf)
	watchdog = conf.watchdog or source
	return conf.address, conf.port
end

function gate.connect(fd, from)
	route[fd] = false
	report("open", fd, from)
end

function gate.message(fd, msg, sz)
	local to = route[fd]
	if to then
		-- the frame's block itself travels on
		skynet.redirect(to.agent, to.client, "client", fd, msg, sz)
	else
		report("data", fd, netpack.tostring(msg, sz))
	end
end

function gate.disconnect(fd)
	route[fd] = nil
	report("close", fd)
end

function gate.error(fd, text)
	route[fd] = nil
	report("error", fd, text)
end

function gate.warning(fd, kilobytes)
	report("warning", fd, kilobytes)
end

-- Commands, by name: f(source, fd, ...).
local commands = {
	-- Frames go to an agent (default: who asks); reading starts. A cluster's agent cuts frames itself:
	-- it asks for what arrives as it arrives, and is told that it gets that.
	forward = function(source, fd, client, agent, raw)
		assert(route[fd] ~= nil)
		route[fd] = { agent = agent or source, client = client or 0 }
		gateserver.openclient(fd, raw == "raw")
		if raw == "raw" then
			return raw
		end
	end,
	-- Frames go to the watchdog; reading starts.
	accept = function(_, fd)
		assert(route[fd] ~= nil)
		route[fd] = false
		gateserver.openclient(fd)
	end,
	kick = function(_, fd)
		gateserver.closeclient(fd)
	end,
}

function gate.command(cmd, source, ...)
	return assert(commands[cmd])(source, ...)
end

gateserver.start(gate)
