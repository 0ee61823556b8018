--- Channels: what is published on one reaches all services that subscribed to it, on every node of
--- a harbor. Within a node the message isn't copied.

local skynet = require "skynet"
local core = require "skynet.multicast.core"

---@class multicast
local multicast = {}

---@class multicast.channel
---@field channel integer|nil  id, to be given to other services; nil once deleted
local channel = {}

local service
-- channel id -> the object that receives; weak, so that who is forgotten unsubscribes
local receiving = setmetatable({}, { __mode = "v" })

--- Subscribe; waits until it's done. Messages then go to the object's dispatch function. Of
--- several objects of one channel in a service the last one to subscribe receives.
--- Raises `assertion failed!` after delete, `call failed` when the channel doesn't exist.
function channel:subscribe()
	assert(self.channel)
	if receiving[self.channel] == self and self.subscribed then
		return
	end
	skynet.call(service, "lua", "SUB", self.channel)
	self.subscribed = true
	receiving[self.channel] = self
end

--- Stop receiving; doesn't wait. Messages on their way are dropped.
function channel:unsubscribe()
	if not self.subscribed then
		return
	end
	self.subscribed = nil
	local id = self.channel
	local current = receiving[id]
	if current == nil or current == self then
		receiving[id] = nil
		skynet.send(service, "lua", "USUB", id)
	end
end

--- Send to all subscribers; waits until the message is in their mailboxes.
--- Raises `assertion failed!` after delete. A channel that others deleted drops it silently.
---@param ... any  what the channel's pack function takes
function channel:publish(...)
	local id = assert(self.channel)
	local cell, size = core.pack(self.pack(...))
	local ok, err = pcall(skynet.call, service, "lua", "PUB", id, cell, size)
	if not ok then
		pcall(core.bind, cell, 0) -- unless it got that far, nobody else frees it
		error(err, 0)
	end
end

--- Delete the channel, for everybody. The object can't be used any more.
function channel:delete()
	local id = assert(self.channel)
	skynet.send(service, "lua", "DEL", id)
	if receiving[id] == self then
		receiving[id] = nil
	end
	self.subscribed = nil
	self.channel = nil
end

local meta = {
	__index = channel,
	__gc = channel.unsubscribe,
	__tostring = function(self)
		return ("[Multicast:%x]"):format(self.channel or 0)
	end,
}

local function ignore() end

--- A channel: a new one, or the one whose id is given.
---@param conf table|nil  { channel = id, dispatch = function(channel, source, ...), pack =, unpack = };
---  default: a new channel; nothing; skynet.pack; skynet.unpack
---@return multicast.channel
function multicast.new(conf)
	conf = conf or {}
	local self = {
		channel = conf.channel or skynet.call(service, "lua", "NEW"),
		pack = conf.pack or skynet.pack,
		unpack = conf.unpack or skynet.unpack,
		dispatch = conf.dispatch or ignore,
	}
	return setmetatable(self, meta)
end

local function deliver(self, source, package, ...)
	core.close(package)
	self.dispatch(self, source, ...)
end

skynet.init(function()
	service = skynet.uniqueservice "multicastd"
	skynet.register_protocol {
		name = "multicast",
		id = skynet.PTYPE_MULTICAST,
		pack = skynet.pack,
		unpack = core.unpack,
		dispatch = function(id, source, package, msg, size)
			skynet.ignoreret() -- the session is the channel
			local self = receiving[id]
			if self then
				deliver(self, source, package, self.unpack(msg, size))
			else
				core.close(package)
			end
		end,
	}
end)

return multicast
