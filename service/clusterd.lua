--- Cluster management, one per process: which node is where, who listens, which names there are.
--
-- A node's record: address (text, false, or nil: not named yet), sender (handle), live (the
-- sender may be handed out), closed, and while somebody works on it `attempt`: a list of
-- coroutines that wait, and `naming`, the one that waits for an address.

local cluster = require "skynet.cluster.core"
local skynet = require "skynet"
require "skynet.manager"

local options = { nowaiting = false }
local nodes = {} -- name -> record
local names, handles = {}, {} -- registry: name -> handle, handle -> name
local listeners = {} -- gate -> agents: fd -> handle, or "starting", "gone"
local proxies = {}
local nodename = cluster.nodename()
local command = {}

local function record(name)
	local n = nodes[name]
	if not n then
		n = {}
		nodes[name] = n
	end
	return n
end

---------------------------------------------------------------------------------------------
-- Nodes

-- The node's sender service, made when it's first needed.
local function make_sender(name, n)
	if not n.sender then
		local sender = skynet.newservice("clustersender", name, nodename, n.address)
		if n.sender then
			skynet.kill(sender) -- another coroutine was faster
		else
			n.sender = sender
		end
	end
end

-- Work on a node until its state is what its address says. Returns false and why when it can't.
local function bring_up(name, n)
	if n.address == nil and not options.nowaiting then
		skynet.error(("Waiting for cluster node [%s]"):format(name))
		n.naming = coroutine.running()
		skynet.wait(n.naming)
		n.naming = nil
	end
	local address = n.address
	if address == nil then
		return false, ("cluster node [%s] is absent."):format(name)
	elseif not address then
		if n.sender and not n.closed then
			n.closed = pcall(skynet.call, n.sender, "lua", "changenode", false)
		end
		return true
	end
	make_sender(name, n)
	if not pcall(skynet.call, n.sender, "lua", "changenode", address) then
		return false, ("changenode [%s] (%s) failed"):format(name, address)
	end
	n.live, n.closed = n.address == address, false
	return true
end

-- A node's sender. Concurrent users share one attempt, and its failure.
local function get_sender(name)
	local n = record(name)
	if n.live then
		return n.sender
	end
	if n.attempt then
		while n.attempt do
			n.attempt[#n.attempt + 1] = coroutine.running()
			skynet.wait()
		end
		assert(n.live or n.address == false)
		return n.sender
	end
	n.attempt = {}
	local ok, err
	repeat
		local address = n.address
		ok, err = bring_up(name, n)
		-- an address that changed meanwhile is another attempt
	until n.address == address or (address == nil and ok)
	local waiting = n.attempt
	n.attempt = nil
	for _, co in ipairs(waiting) do
		skynet.wakeup(co)
	end
	if not ok then
		error(err)
	end
	return n.sender
end

local function set_address(name, address, moved)
	assert(type(name) == "string" and (address == false or type(address) == "string"))
	local n = record(name)
	if n.address ~= address then
		n.address = address
		if n.sender then
			n.live = false
			moved[#moved + 1] = name
		end
	end
	if n.naming and not options.nowaiting then
		skynet.error(("Cluster node [%s] resolved : %s"):format(name, address))
		skynet.wakeup(n.naming)
	end
end

local function load_file()
	local path = skynet.getenv "cluster"
	if not path then
		return {}
	end
	local f = assert(io.open(path))
	local source = f:read "a"
	f:close()
	local config = {}
	assert(load(source, "@" .. path, "t", config))()
	return config
end

local function reload(config)
	local moved = {}
	for key, value in pairs(config or load_file()) do
		if key:sub(1, 2) == "__" then
			local option = key:sub(3)
			options[option] = value
			skynet.error(("Config %s = %s"):format(option, value))
		else
			set_address(key, value, moved)
		end
	end
	if options.nowaiting then
		for _, n in pairs(nodes) do
			if n.naming then
				skynet.wakeup(n.naming)
			end
		end
	end
	for _, name in ipairs(moved) do
		skynet.fork(get_sender, name)
	end
	if moved[1] then
		skynet.yield() -- senders hear of it before whoever reloaded can send them a request
	end
end

function command.reload(_, config)
	reload(config)
	skynet.retpack(nil)
end

function command.sender(_, name)
	skynet.retpack(get_sender(name))
end

function command.senders()
	local all = {}
	for name, n in pairs(nodes) do
		all[name] = n.sender
	end
	skynet.retpack(all)
end

---------------------------------------------------------------------------------------------
-- Listening

function command.listen(_, addr, port, maxclient)
	local name = addr
	if port == nil then
		local address = record(addr).address
		if not address then
			error(addr .. " is down")
		end
		addr = address
	end
	local gate = skynet.newservice "gate"
	listeners[gate] = {}
	local ok, ip, bound = pcall(skynet.call, gate, "lua", "open",
		{ address = addr, port = port, maxclient = maxclient })
	if not ok then
		listeners[gate] = nil
		skynet.kill(gate)
		error(ip, 0)
	end
	if port == nil then
		skynet.retpack(name, nil)
	else
		skynet.retpack(ip, bound)
	end
end

local function end_agent(agents, fd)
	local agent = agents[fd]
	if agent == "starting" then
		agents[fd] = "gone"
	elseif agent then
		agents[fd] = nil
		if agent ~= "gone" then
			skynet.send(agent, "lua", "exit")
		end
	end
end

local events = {}

function events.open(gate, agents, fd, from)
	skynet.error(("socket accept from %s"):format(from))
	agents[fd] = "starting"
	local ok, agent = pcall(skynet.newservice, "clusteragent", skynet.self(), gate, fd)
	local gone = agents[fd] == "gone"
	agents[fd] = ok and not gone and agent or nil
	if ok and gone then
		skynet.send(agent, "lua", "exit")
	elseif not ok then
		skynet.send(gate, "lua", "kick", fd)
	end
end

function events.close(gate, agents, fd)
	end_agent(agents, fd)
	skynet.send(gate, "lua", "kick", fd) -- frees the descriptor
end

events.error = events.close

-- What gates report; they expect no answer.
function command.socket(gate, event, fd, ...)
	local f = events[event]
	local agents = listeners[gate]
	if f and agents then
		f(gate, agents, fd, ...)
	elseif not f then
		skynet.error(("socket %s %d %s"):format(event, fd, tostring((...) or "")))
	end
end

---------------------------------------------------------------------------------------------
-- Names

local function tell_agents()
	for _, agents in pairs(listeners) do
		for _, agent in pairs(agents) do
			if type(agent) == "number" then
				skynet.send(agent, "lua", "namechange")
			end
		end
	end
end

function command.register(source, name, addr)
	assert(names[name] == nil, "the name is registered already")
	addr = addr or source
	local previous = handles[addr]
	if previous then -- a service has one name
		names[previous] = nil
		tell_agents()
	end
	names[name] = addr
	handles[addr] = name
	skynet.ret()
	skynet.error(("Register [%s] :%08x"):format(name, addr))
end

function command.unregister(_, name)
	local addr = names[name]
	if not addr then
		return skynet.ret()
	end
	names[name] = nil
	handles[addr] = nil
	tell_agents()
	skynet.ret()
	skynet.error(("Unregister [%s] :%08x"):format(name, addr))
end

function command.queryname(_, name)
	skynet.retpack(names[name])
end

---------------------------------------------------------------------------------------------
-- Proxies

function command.proxy(_, node, name)
	if name == nil then
		local n, rest = node:match "^([^@.]+)([@.].+)"
		if n == nil then
			error("Invalid name " .. tostring(name))
		end
		node, name = n, rest
	end
	local key = node .. "." .. name
	local proxy = proxies[key]
	if not proxy then
		local made = skynet.newservice("clusterproxy", node, name)
		proxy = proxies[key]
		if proxy then
			skynet.kill(made) -- another coroutine was faster
		else
			proxies[key] = made
			proxy = made
		end
	end
	skynet.retpack(proxy)
end

skynet.start(function()
	reload()
	skynet.dispatch("lua", function(_, source, cmd, ...)
		local f = assert(command[cmd])
		f(source, ...)
	end)
end)
