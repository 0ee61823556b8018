--- Calls between the nodes of a cluster.
--
-- A node is addressed by its name in the cluster configuration; a service there by a handle,
-- "@name" (registered with cluster.register), ".name" (a local name there) or ":hex".
--
-- The service that carries messages to a node, its sender, is looked up once. What is sent
-- before it's known waits in a list, in order: packed messages of sends, and coroutines that
-- call.

local skynet = require "skynet"
local give = require "skynet.cluster.core".give

local cluster = {}

local clusterd
local sender = {} -- node -> handle
local tasks = {} -- node -> what waits for its sender

-- Hand on what waited, in order. A call's coroutine issues its request, then wakes us.
local function drain(node, handle, ok)
	local list = tasks[node]
	local i = 1
	while list[i] do
		local task = list[i]
		i = i + 1
		if type(task) ~= "string" then
			list.turn = coroutine.running()
			skynet.wakeup(task)
			skynet.wait(list.turn)
		elseif ok and handle then
			skynet.rawsend(handle, "lua", task)
		end
	end
	tasks[node] = nil
	if handle then
		sender[node] = handle
	end
end

local function look_up(node)
	local ok, handle = pcall(skynet.call, clusterd, "lua", "sender", node)
	if not ok then
		skynet.error(handle)
		handle = nil
	end
	tasks[node].sender = handle
	drain(node, handle, ok)
end

-- The list of what waits for a node's sender; the first one starts the look-up.
local function waiting_list(node)
	local list = tasks[node]
	if not list then
		list = {}
		tasks[node] = list
		skynet.fork(look_up, node)
	end
	return list
end

-- The node's sender, or nil. Yields unless it's known.
local function get_sender(node)
	local s = sender[node]
	if s then
		return s
	end
	local list = waiting_list(node)
	list[#list + 1] = coroutine.running()
	skynet.wait()
	skynet.wakeup(list.turn)
	return list.sender
end

--- Ask a service of another node.
--- Raises an error ending in `call failed` when the node, the link or the service fails.
---@param node string
---@param address integer|string
---@param ... any
---@return any ...
function cluster.call(node, address, ...)
	local s = sender[node]
	local msg, sz
	if s then
		msg, sz = skynet.pack(...)
	else
		local packed = skynet.packstring(...) -- arguments as they are now
		s = get_sender(node)
		if not s then
			error(("dest address type (nil) must be a string or number."))
		end
		msg, sz = skynet.pack(skynet.unpack(packed))
	end
	return skynet.call(s, "lua", "req", address, give(msg, sz))
end

--- Send to a service of another node. Never blocks, and never tells of a failure.
---@param node string
---@param address integer|string
---@param ... any
function cluster.send(node, address, ...)
	local s = sender[node]
	if s then
		skynet.send(s, "lua", "push", address, give(skynet.pack(...)))
	else
		local list = waiting_list(node)
		list[#list + 1] = skynet.packstring("push", address, give(skynet.pack(...)))
	end
end

--- Listen for other nodes: on a port (of all addresses), or on the address a node's name has in
--- the configuration.
---@param port integer|string  port (0: the system chooses), or the node's name
---@param maxclient integer|nil  default 1024
---@return string address, integer|nil port  what was bound; the name and nil for a name
function cluster.open(port, maxclient)
	if type(port) == "string" then
		return skynet.call(clusterd, "lua", "listen", port, nil, maxclient)
	end
	return skynet.call(clusterd, "lua", "listen", "0.0.0.0", port, maxclient)
end

--- Change the configuration: { node = "host:port" | false, __nowaiting = boolean }; nil: read
--- the file named by the key `cluster` again.
---@param config table|nil
function cluster.reload(config)
	skynet.call(clusterd, "lua", "reload", config)
end

--- A local service that stands for one of another node.
---@param node string  or "node@name", "node.name" as the only argument
---@param name integer|string|nil
---@return integer handle
function cluster.proxy(node, name)
	return skynet.call(clusterd, "lua", "proxy", node, name)
end

--- A snax object of another node's snax service, which must have called snax.enablecluster.
--- Method numbers are those of this node's copy of the service's file.
--- Raises as cluster.call does, and when the unique service failed to start there.
---@param node string
---@param name string  type of the service
---@param address integer|string|nil  default: the unique service of that name; waits for it
---@return snax.object
function cluster.snax(node, name, address)
	local snax = require "skynet.snax"
	if not address then
		address = assert(cluster.call(node, ".service", "QUERY", "snaxd", name))
	end
	local handle = skynet.call(clusterd, "lua", "proxy", node, address)
	return snax.bind(handle, name)
end

--- Give a service a name that other nodes can use as "@name".
---@param name string
---@param addr integer|nil  default: this service
function cluster.register(name, addr)
	assert(type(name) == "string")
	assert(addr == nil or type(addr) == "number")
	skynet.call(clusterd, "lua", "register", name, addr)
end

--- Take a name back.
---@param name string
function cluster.unregister(name)
	assert(type(name) == "string")
	skynet.call(clusterd, "lua", "unregister", name)
end

--- Handle of a name registered on another node.
---@param node string
---@param name string
---@return integer
function cluster.query(node, name)
	local s = get_sender(node)
	return skynet.call(s, "lua", "req", 0, skynet.pack(name))
end

--- Handle of the service that carries messages to a node; nil when there's none.
---@param node string
---@return integer|nil
cluster.get_sender = get_sender

skynet.init(function()
	clusterd = skynet.uniqueservice "clusterd"
end)

return cluster
