--- Owns the gate: gives each client an agent, and clears up when a client has gone.
local skynet = require "skynet"

local gate
local agents = {} -- fd -> agent

local function drop(fd)
	local agent = agents[fd]
	agents[fd] = nil
	-- the gate keeps a descriptor, also of a client who has gone, until it's told to kick
	skynet.call(gate, "lua", "kick", fd)
	if agent then
		skynet.send(agent, "lua", "disconnect")
	end
end

-- What the gate tells.
local events = {}

function events.open(fd, from)
	skynet.error(("client %d comes from %s"):format(fd, from))
	local agent = skynet.newservice "agent"
	agents[fd] = agent
	skynet.call(agent, "lua", "start", { gate = gate, client = fd, watchdog = skynet.self() })
end

function events.close(fd)
	skynet.error(("client %d has gone"):format(fd))
	drop(fd)
end

function events.error(fd, text)
	skynet.error(("client %d: %s"):format(fd, text))
	drop(fd)
end

function events.warning(fd, kilobytes)
	-- a client that doesn't read what we send
	if kilobytes > 1024 then
		drop(fd)
	end
end

local commands = {}

function commands.start(conf)
	return skynet.call(gate, "lua", "open", conf)
end

-- From an agent.
commands.close = drop

skynet.start(function()
	gate = skynet.newservice "gate"
	skynet.dispatch("lua", function(session, _, cmd, name, ...)
		if cmd == "socket" then
			events[name](...)
		elseif session == 0 then
			commands[cmd](name, ...)
		else
			skynet.retpack(commands[cmd](name, ...))
		end
	end)
end)
