--- A gate as a project may have its own in the place of ours: it knows nothing but frames.
local gateserver = require "snax.gateserver"
local skynet = require "skynet"

skynet.register_protocol { name = "client", id = skynet.PTYPE_CLIENT }

local agents, watchdog = {}, nil
local handler = {}

function handler.open(source, conf)
	watchdog = source
	return conf.address, conf.port
end

function handler.connect(fd, from)
	skynet.send(watchdog, "lua", "socket", "open", fd, from)
end

function handler.message(fd, msg, sz)
	skynet.redirect(agents[fd], 0, "client", fd, msg, sz)
end

function handler.disconnect(fd)
	skynet.send(watchdog, "lua", "socket", "close", fd)
end

function handler.command(cmd, source, fd)
	if cmd == "forward" then
		agents[fd] = source
		gateserver.openclient(fd)
		return true
	end
	gateserver.closeclient(fd)
end

gateserver.start(handler)
