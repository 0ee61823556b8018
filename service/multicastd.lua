--- The node's multicast service: who subscribed to which channel.
--
-- A channel belongs to the node (harbor) in the low byte of its id. That node knows which other
-- nodes have subscribers, and every node knows its own. A message for a channel of another node
-- goes there as raw data, and from there to all nodes that subscribed, the sender's included.
--
-- Commands: NEW, DEL, PUB, SUB, USUB from services; SUBR, USUBR, DELR from other nodes'
-- multicast services, which are listed in the datacenter under "multicast", harbor id.

local skynet = require "skynet"
local core = require "skynet.multicast.core"
local datacenter = require "skynet.datacenter"

local harbor = skynet.harbor(skynet.self())
local last = harbor -- the next id to try
local channels = {} -- id -> { subscribers = set, count =, prune_at =, nodes = set of harbors }
local nodes = {} -- harbor -> address of its multicast service
local command = {}

local function owner_of(id)
	return id & 0xff
end

local function check_id(id)
	if math.type(id) ~= "integer" or id < 0 or id > 0x7fffffff then
		error(("multicast: %s is no channel id"):format(tostring(id)))
	end
	return id
end

local function node_address(node)
	local address = nodes[node]
	if not address then
		address = datacenter.get("multicast", node)
			or error(("multicast: node %d has no multicast service, or isn't connected"):format(node))
		nodes[node] = address
	end
	return address
end

local function new_channel(id)
	local ch = { subscribers = {}, count = 0, prune_at = 16, nodes = {} }
	channels[id] = ch
	return ch
end

local function existing(id)
	return channels[check_id(id)]
		or error(("multicast: channel %x doesn't exist (it was deleted, or never made)"):format(id))
end

local function remove(ch, address)
	if ch.subscribers[address] then
		ch.subscribers[address] = nil
		ch.count = ch.count - 1
	end
end

-- A channel of another node that nobody here subscribes any more.
local function forget_if_unused(id, ch)
	if ch.count == 0 and owner_of(id) ~= harbor and channels[id] == ch then
		channels[id] = nil
		skynet.send(node_address(owner_of(id)), "lua", "USUBR", id)
	end
end

-- Subscribers that died are found when something is published; here when they'd pile up.
local function prune(ch)
	for address in pairs(ch.subscribers) do
		if not core.alive(address) then
			remove(ch, address)
		end
	end
	ch.prune_at = math.max(16, ch.count * 2)
end

-- To the subscribers here. Takes the cell.
local function deliver(id, ch, source, cell)
	local _, dead = core.deliver(cell, source, id, ch.subscribers)
	for _, address in ipairs(dead) do
		remove(ch, address)
	end
	if #dead > 0 then
		forget_if_unused(id, ch)
	end
end

-- To everybody, from the channel's own node. Takes the cell.
local function publish(id, source, cell)
	local ch = channels[id]
	if not ch then
		core.bind(cell, 0) -- deleted meanwhile
		return
	end
	if next(ch.nodes) then
		local text = core.text(cell)
		for _, address in pairs(ch.nodes) do
			skynet.redirect(address, source, "multicast", id, text)
		end
	end
	deliver(id, ch, source, cell)
end

function command.NEW()
	while channels[last] do
		last = core.nextid(last)
	end
	local id = last
	new_channel(id)
	last = core.nextid(id)
	return id
end

function command.PUB(source, id, cell)
	check_id(id)
	if owner_of(id) == harbor then
		publish(id, source, cell)
	else
		local address = node_address(owner_of(id))
		skynet.redirect(address, source, "multicast", id, core.remote(cell))
	end
end

-- Asks the channel's node; two services may do so at once.
local function join_remote(id)
	skynet.call(node_address(owner_of(id)), "lua", "SUBR", id)
	return channels[id] or new_channel(id)
end

function command.SUB(source, id)
	local ch
	if owner_of(check_id(id)) == harbor then
		ch = existing(id)
	else
		ch = channels[id] or join_remote(id)
	end
	if not ch.subscribers[source] then
		ch.subscribers[source] = true
		ch.count = ch.count + 1
		if ch.count >= ch.prune_at then
			prune(ch)
		end
	end
end

function command.USUB(source, id)
	local ch = channels[id]
	if ch then
		remove(ch, source)
		forget_if_unused(id, ch)
	end
end

function command.DEL(_, id)
	if owner_of(check_id(id)) ~= harbor then
		skynet.send(node_address(owner_of(id)), "lua", "DELR", id)
		return
	end
	local ch = channels[id]
	channels[id] = nil
	for _, address in pairs(ch and ch.nodes or {}) do
		skynet.send(address, "lua", "DELR", id)
	end
end

-- Another node asks for a deletion here, or a channel's node tells of one.
function command.DELR(source, id)
	if owner_of(check_id(id)) == harbor then
		command.DEL(source, id)
	else
		channels[id] = nil
	end
end

function command.SUBR(source, id)
	local node = skynet.harbor(source)
	nodes[node] = source
	existing(id).nodes[node] = source
end

function command.USUBR(source, id)
	local ch = channels[check_id(id)]
	if ch then
		ch.nodes[skynet.harbor(source)] = nil
	end
end

local function info()
	local result = {}
	for id, ch in pairs(channels) do
		local n = 0
		for _ in pairs(ch.nodes) do
			n = n + 1
		end
		result[("%x"):format(id)] = ("%d subscribers, %d other nodes"):format(ch.count, n)
	end
	result.packages = core.count()
	return result
end

skynet.register_protocol {
	name = "multicast",
	id = skynet.PTYPE_MULTICAST,
	pack = function(...)
		return ...
	end,
	unpack = function(msg, size)
		return (core.packremote(msg, size))
	end,
	dispatch = function(id, source, cell)
		skynet.ignoreret()
		local ch = channels[id]
		if owner_of(id) == harbor then
			publish(id, source, cell)
		elseif ch then
			deliver(id, ch, source, cell)
		else
			core.bind(cell, 0)
		end
	end,
}

skynet.start(function()
	datacenter.set("multicast", harbor, skynet.self())
	skynet.dispatch("lua", function(session, source, cmd, ...)
		local f = command[cmd] or error(("multicastd: unknown command %s"):format(tostring(cmd)))
		if session == 0 then
			f(source, ...)
		else
			skynet.retpack(f(source, ...))
		end
	end)
	skynet.info_func(info)
end)
