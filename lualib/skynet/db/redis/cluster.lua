--- Client of a Redis Cluster: a command goes to the node that has its key's slot.
--
-- The map of slots comes from CLUSTER SLOTS and is fetched again when a node redirects (MOVED),
-- dies or is out of order. Connections to nodes are made on demand. A command follows
-- redirections, and waits a moment between tries while the cluster is rearranging itself; after
-- a lost connection it's sent again, so it may have been done twice. A command whose time is up
-- isn't repeated.
--
-- Fields that users look at: slots (slot -> node), nodes (list), connections (name -> db). A node
-- is { host =, port =, name = "host:port", slaves = { node, ... } }.

local keys = require "skynet.db.redis.keys"
local redis = require "skynet.db.redis"
local skynet = require "skynet"
local socketchannel = require "skynet.socketchannel"

local TRIES = 16
local INQUIRY = 300 -- cs for a question about the cluster
local PAUSE_MAX = 50 -- cs between two tries, at most
local WATCH_PAUSE_MAX = 500 -- cs between two attempts to subscribe again

---@class skynet.db.redis.cluster
---@field [string] fun(self: skynet.db.redis.cluster, ...: any): any
local class = {}

---------------------------------------------------------------------------------------------
-- Nodes and their connections

--- Give a node its name.
---@param node table
function class:set_node_name(node)
	node.name = node.name or node.host .. ":" .. node.port
	node.slaves = node.slaves or {}
	return node
end

-- The first of these connections that no command is using.
local function idle(self)
	for name, link in pairs(self.connections) do
		if not self.busy[link] then
			return name, link
		end
	end
end

--- Close one connection that isn't in use, when there are too many.
function class:close_existing_connection()
	local count = 0
	for _ in pairs(self.connections) do
		count = count + 1
	end
	while count >= self.max_connections do
		local name, link = idle(self)
		if not name then
			return
		end
		self.connections[name] = nil
		link:disconnect()
		count = count - 1
	end
end

--- A db object for a node; it connects with its first command.
---@param node table
---@param readonly boolean|nil  the node is a replica and shall serve reads
---@return skynet.db.redis
function class:get_redis_link(node, readonly)
	local conf = {}
	for name, value in pairs(self.opt) do
		conf[name] = value
	end
	conf.host, conf.port, conf.readonly = node.host, node.port, readonly
	conf.db = conf.db ~= 0 and conf.db or nil
	return redis.new(conf)
end

--- The connection to a node.
---@param node table
---@return skynet.db.redis
function class:get_connection(node)
	local name = self:set_node_name(node).name
	local link = self.connections[name]
	if not link then
		self:close_existing_connection()
		link = self:get_redis_link(node, self.read_slave)
		self.connections[name] = link
	end
	return link
end

local function forget_connection(self, link)
	for name, other in pairs(self.connections) do
		if other == link then
			self.connections[name] = nil
		end
	end
end

-- Was it the connection that failed, not the command?
local function is_lost(err)
	return err == socketchannel.error or err == "channel_closed"
end

-- Ask a node about itself; it may be one that never answers.
local function briefly(self, link, command, ...)
	link = link:with_timeout(self.opt.timeout or INQUIRY)
	return pcall(link[command], link, ...)
end

-- Nodes in random order: those of the map, then those we began with.
local function shuffled(self)
	local list, seen = {}, {}
	local function add(nodes)
		local first = #list + 1
		for _, node in ipairs(nodes) do
			if not seen[self:set_node_name(node).name] then
				seen[node.name] = true
				list[#list + 1] = node
			end
		end
		for i = #list, first + 1, -1 do
			local j = math.random(first, i)
			list[i], list[j] = list[j], list[i]
		end
	end
	add(self.nodes)
	add(self.startup_nodes)
	return list
end

--- The connection to any node that answers. Raises `Can't reach a single startup node.`
---@return skynet.db.redis
function class:get_random_connection()
	local last
	for _, node in ipairs(shuffled(self)) do
		local link = self:get_connection(node)
		local ok, reply = briefly(self, link, "ping")
		if ok and reply == "PONG" then
			return link
		elseif is_lost(reply) then
			forget_connection(self, link)
		else
			last = reply
		end
	end
	error("Can't reach a single startup node." .. (last and (" (%s)"):format(last) or ""))
end

--- The connection to the node that has a slot; to any when nobody is known to have it.
---@param slot integer
---@return skynet.db.redis
function class:get_connection_by_slot(slot)
	local node = self.slots[slot]
	if not node then
		return self:get_random_connection()
	elseif self.read_slave and #node.slaves > 0 then
		node = node.slaves[math.random(#node.slaves)]
	end
	return self:get_connection(node)
end

--- Close all connections and subscriptions; commands connect again.
function class:close_all_connection()
	self.closings = self.closings + 1
	for name, link in pairs(self.connections) do
		self.connections[name] = nil
		link:disconnect()
	end
	for name, watching in pairs(self.watches) do
		self.watches[name] = nil
		watching.closed = true
		watching.link:disconnect()
	end
end

---------------------------------------------------------------------------------------------
-- The map of slots

--- Slot of a key.
---@param key any
---@return integer  0 to 16383
function class:keyslot(key)
	return keys.slot(key)
end

--- Forget which node has which slot.
function class:flush_slots_cache()
	self.slots, self.nodes = {}, {}
end

-- A node as CLUSTER SLOTS tells it. One that doesn't say its host is the one that was asked.
local function told_node(self, asked, told)
	local host = told[1]
	if not host or host == "" or host == "?" then
		host = asked.host
	end
	return self:set_node_name { host = host, port = math.tointeger(told[2]) }
end

-- Fill the map from a reply. Raises when the reply makes no sense.
local function learn(self, asked, reply)
	local slots, nodes, known = {}, {}, {}
	local function unique(node)
		local old = known[node.name]
		if not old then
			known[node.name] = node
			nodes[#nodes + 1] = node
		end
		return old or node
	end
	for _, range in ipairs(reply) do
		local first, last = range[1], range[2]
		assert(0 <= first and last < 16384, "slots out of range")
		local master = unique(told_node(self, asked, range[3]))
		for slot = first, last do
			slots[slot] = master
		end
		master.slaves = {}
		for i = 4, #range do
			master.slaves[i - 3] = unique(told_node(self, asked, range[i]))
		end
	end
	assert(#nodes > 0, "no slots are assigned")
	self.slots, self.nodes = slots, nodes
end

local function fetch_map(self)
	for _, node in ipairs(shuffled(self)) do
		local link = self:get_connection(node)
		local ok, reply = briefly(self, link, "cluster", "slots")
		if ok then
			ok, reply = pcall(learn, self, node, reply)
		elseif is_lost(reply) then
			forget_connection(self, link)
		end
		if ok then
			self.stale = false
			return
		end
		skynet.error(("redis cluster: %s doesn't tell the slots: %s"):format(node.name,
			tostring(reply)))
	end
end

--- Fetch the map of slots from the first node that tells it. Failures are logged.
function class:initialize_slots_cache()
	if self.fetching then -- one is enough
		local waiter = {}
		table.insert(self.fetching, waiter)
		skynet.wait(waiter)
		return
	end
	self.fetching = {}
	local ok, err = pcall(fetch_map, self)
	local waiters = self.fetching
	self.fetching = false
	for _, waiter in ipairs(waiters) do
		skynet.wakeup(waiter)
	end
	if not ok then
		error(err, 0)
	end
end

---------------------------------------------------------------------------------------------
-- Commands

--- The first key of a command; nil when it has none.
---@param command string
---@param argv any[]
---@return any
function class:get_key_from_command(command, argv)
	argv.n = argv.n or #argv
	return keys.of(command, argv)
end

-- Arguments as a list, by the rules of the redis module.
local function arguments(...)
	local first = ...
	if first == nil then
		return { n = 0 }
	elseif type(first) == "table" then
		local n = first.n or #first
		local argv = table.move(first, 1, n, 1, {})
		argv.n = n
		return argv
	end
	return table.pack(...)
end

-- Send a command over a connection: ok, reply or error; nil, error when the connection failed.
local function try(self, link, command, argv, asking)
	local op = table.move(argv, 1, argv.n, 2, { command:upper() })
	for i = 1, argv.n do
		if argv[i] == nil then
			error(("redis: argument %d of %s is nil"):format(i, op[1]), 0)
		end
	end
	local busy = self.busy
	busy[link] = (busy[link] or 0) + 1
	local ops = asking and { { "ASKING" }, op } or { op }
	local ok, results = pcall(link.pipeline, link, ops, {})
	busy[link] = busy[link] > 1 and busy[link] - 1 or nil
	if not ok then
		if not is_lost(results) then
			self.stale = true -- too late, or refused: the node may have been replaced
			error(results, 0)
		end
		return nil, results
	end
	local result = results[#results]
	return result.ok, result.out
end

-- Slot and node that a redirection names.
local function parse_redirection(self, text, from)
	local kind, slot, host, port = text:match "^(%u+) (%d+) (.-):(%d+)$"
	if kind ~= "MOVED" and kind ~= "ASK" then
		return nil
	end
	if host == "" then
		host = from and from.host or self.startup_nodes[1].host
	end
	return kind, tonumber(slot), self:set_node_name { host = host, port = math.tointeger(port) }
end

-- Answers of a node that pass with time.
local function is_passing(text)
	return type(text) == "string" and (text:find "^CLUSTERDOWN" or text:find "^TRYAGAIN" or
		text:find "^LOADING" or text:find "^MASTERDOWN")
end

-- The node to try: the one a redirection named, the slot's, or nil for any.
local function choose(self, command, slot, redirected)
	local node = redirected or self.slots[slot]
	if node and not redirected and self.read_slave and #node.slaves > 0 and
		not self.writes[command] then
		return node.slaves[math.random(#node.slaves)]
	end
	return node
end

-- A replica that redirects to its own master was asked to write.
local function remember_write(self, command, slot, node)
	local master = self.slots[slot]
	if self.read_slave and master and master.name == node.name then
		self.writes[command] = true
	end
end

-- Where an error reply sends the command: node, and whether it has to be asked (ASK). nil when
-- the reply is no redirection.
local function redirect(self, command, slot, from, reply)
	if type(reply) ~= "string" then
		return nil
	end
	local kind, moved, target = parse_redirection(self, reply, from)
	if kind == "MOVED" then
		remember_write(self, command, slot, target)
		if not self.slots[moved] or self.slots[moved].name ~= target.name then
			self.slots[moved], self.stale = target, true
		end
	end
	return target, kind == "ASK"
end

--- Run a command. Raises what the node refuses, and
--- `Too many Cluster redirections?` when the cluster doesn't get into order.
---@param command string
---@param ... any
---@return any
function class:call(command, ...)
	local argv = arguments(...)
	local key = keys.of(command, argv)
	if key == nil then
		error("No way to dispatch this command to Redis Cluster: " .. tostring(command), 2)
	end
	local slot = keys.slot(key)
	local target, asking, last
	for i = 1, TRIES do
		if self.stale then
			self:initialize_slots_cache()
		end
		local node = choose(self, command, slot, target)
		local link = node and self:get_connection(node) or self:get_random_connection()
		local ok, reply = try(self, link, command, argv, asking)
		if ok then
			return redis.convert(command, reply)
		end
		last = tostring(type(reply) == "table" and reply[1] or reply)
		target, asking = nil, nil
		if ok == nil then
			forget_connection(self, link)
			self.stale = true
		elseif is_passing(reply) then
			self.stale = true
		else
			target, asking = redirect(self, command, slot, node, reply)
			if not target then
				error(reply, 2)
			end
		end
		if not target or i > 2 then
			skynet.sleep(math.min(PAUSE_MAX, 1 << i))
		end
	end
	error(('Too many Cluster redirections?,maybe node is disconnected (last error: "%s")')
		:format(last), 2)
end

---------------------------------------------------------------------------------------------
-- Subscriptions

-- Subscribe elsewhere what a lost connection had.
local function move_subscriptions(self, watching)
	self:initialize_slots_cache()
	for command, names in pairs(watching.link.wanted) do
		for name in pairs(names) do
			if not watching.moved[command .. name] then
				self[command](self, name)
				watching.moved[command .. name] = true
			end
		end
	end
end

local function replace(self, watching)
	local pause = 10
	if self.watches[watching.name] == watching then
		self.watches[watching.name] = nil
	end
	watching.moved = {}
	local closings = self.closings
	while closings == self.closings do
		local ok, err = pcall(move_subscriptions, self, watching)
		if ok then
			break
		end
		skynet.error(("redis cluster: can't subscribe again: %s"):format(tostring(err)))
		skynet.sleep(pause)
		pause = math.min(2 * pause, WATCH_PAUSE_MAX)
	end
	watching.link:disconnect()
end

local function watch_forever(self, watching)
	while not watching.closed do
		local ok, data, channel, pattern = pcall(watching.link.message, watching.link)
		if watching.closed then
			return
		elseif not ok and is_lost(data) then
			return replace(self, watching)
		elseif not ok then
			skynet.error("redis cluster: subscription failed:", data)
		elseif self.onmessage then
			local fine, err = xpcall(self.onmessage, debug.traceback, data, channel, pattern)
			if not fine then
				skynet.error("redis cluster: onmessage raised:", err)
			end
		end
	end
end

--- The subscriptions' connection to a node; its messages go to onmessage.
---@param node table
---@return skynet.db.redis.watch
function class:get_watch_connection(node)
	local name = self:set_node_name(node).name
	local watching = self.watches[name]
	if not watching then
		local conf = {}
		for k, v in pairs(self.opt) do
			conf[k] = v
		end
		conf.host, conf.port, conf.db, conf.overload = node.host, node.port, nil, nil
		local link = redis.watch(conf)
		watching = self.watches[name]
		if watching then -- somebody was faster
			link:disconnect()
		else
			watching = { name = name, link = link }
			self.watches[name] = watching
			skynet.fork(watch_forever, self, watching)
		end
	end
	return watching.link
end

--- The same for the node that has a slot, or any other when that can't be reached.
---@param slot integer
---@return skynet.db.redis.watch
function class:get_watch_connection_by_slot(slot)
	local nodes = shuffled(self)
	table.insert(nodes, 1, self.slots[slot])
	local err
	for _, node in ipairs(nodes) do
		local ok, link = pcall(self.get_watch_connection, self, node)
		if ok then
			return link
		end
		err = link
	end
	error(err, 0)
end

for _, command in ipairs { "subscribe", "psubscribe" } do
	local opposite = command:gsub("sub", "unsub")
	class[command] = function(self, ...)
		for _, name in ipairs { ... } do
			local link = self:get_watch_connection_by_slot(keys.slot(name))
			link[command](link, name)
		end
	end
	class[opposite] = function(self, ...)
		for _, name in ipairs { ... } do
			for _, watching in pairs(self.watches) do
				if watching.link.wanted[command][name] then
					watching.link[opposite](watching.link, name)
				end
			end
		end
	end
end

---------------------------------------------------------------------------------------------
-- The module

setmetatable(class, {
	__index = function(t, command)
		if type(command) ~= "string" then
			return nil
		end
		local function f(self, ...)
			return self:call(command, ...)
		end
		t[command] = f
		return f
	end,
})
class.__index = class

local cluster = {}

---@class skynet.db.redis.cluster.opt : skynet.db.redis.conf
---@field max_connections integer|nil  default 256
---@field read_slave boolean|nil       reads may go to replicas

--- A client of the cluster that these nodes belong to.
---@param startup_nodes table[]|table  { host =, port = }, or a list of them
---@param opt skynet.db.redis.cluster.opt|nil  options of redis.connect are meant for every node
---@param onmessage fun(data: string, channel: string, pattern: string|nil)|nil
---@return skynet.db.redis.cluster
function cluster.new(startup_nodes, opt, onmessage)
	if startup_nodes.host then
		startup_nodes = { startup_nodes }
	end
	opt = opt or {}
	local self = {
		startup_nodes = startup_nodes,
		opt = opt,
		onmessage = onmessage or false,
		max_connections = opt.max_connections or 256,
		read_slave = opt.read_slave or false,
		slots = {},
		nodes = {},
		connections = {},
		watches = {},
		busy = {},
		writes = {},
		stale = false,
		fetching = false,
		closings = 0,
	}
	setmetatable(self, class)
	self:initialize_slots_cache()
	return self
end

return cluster
