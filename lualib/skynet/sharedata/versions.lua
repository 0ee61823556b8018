--- What a service that hands out versions of named objects has to keep: the current version of each
--- name, who waits for the next one, and who was told of one and hasn't confirmed it.
--
-- Every answer pins the version until its receiver confirms: by then that has a reference of its
-- own. A superseded version is given up as soon as nothing pins it. A receiver may die before it
-- confirms: its pin goes when the version is superseded, or a minute after that.

local skynet = require "skynet"

local PIN_LIMIT = 6000 -- cs
local PRUNE_FIRST = 16

---@class versions
local versions = {}
versions.__index = versions

-- a version that is collected with its service
local owned = {
	__gc = function(v)
		pcall(v.give_up, v.obj)
	end,
}

--- A keeper.
---@param give_up fun(obj: lightuserdata)  releases an object that no name refers to any more
---@param alive fun(address: integer): boolean
---@return versions
function versions.new(give_up, alive)
	return setmetatable({
		names = {}, -- name -> version
		objects = {}, -- object -> version: name, obj, pins (address -> count), watchers, superseded
		give_up = give_up,
		alive = alive,
	}, versions)
end

local function forget(self, v)
	self.objects[v.obj] = nil
	setmetatable(v, nil)
	self.give_up(v.obj)
end

local function pin(v, source)
	v.pins[source] = (v.pins[source] or 0) + 1
end

local function supersede(self, v)
	v.superseded = true
	for source in pairs(v.pins) do
		if not self.alive(source) then
			v.pins[source] = nil
		end
	end
	if next(v.pins) == nil then
		forget(self, v)
		return
	end
	skynet.timeout(PIN_LIMIT, function()
		if self.objects[v.obj] == v then
			forget(self, v)
		end
	end)
end

local function tell_watchers(old, new)
	for _, w in ipairs(old.watchers) do
		if w.answer(true, new and new.obj) and new then
			pin(new, w.source)
		end
	end
	old.watchers = {}
end

--- Make an object the current version of a name; takes the object.
---@param name string
---@param obj lightuserdata
---@param before_telling fun(old: lightuserdata)|nil  runs before anybody hears of the new version
function versions:publish(name, obj, before_telling)
	local old = self.names[name]
	local v = setmetatable({ name = name, obj = obj, pins = {}, watchers = {},
		prune_at = PRUNE_FIRST, give_up = self.give_up }, owned)
	self.names[name] = v
	self.objects[obj] = v
	if old then
		if before_telling then
			before_telling(old.obj)
		end
		tell_watchers(old, v)
		supersede(self, old)
	end
end

--- Forget a name; who waits for its next version gets nil.
---@param name string
function versions:remove(name)
	local v = self.names[name]
	self.names[name] = nil
	tell_watchers(v, nil)
	supersede(self, v)
end

--- The current object of a name, pinned for `source`; nil if there's no such name.
---@param source integer
---@param name string
---@return lightuserdata|nil
function versions:query(source, name)
	local v = self.names[name]
	if v then
		pin(v, source)
		return v.obj
	end
end

--- `source` has its own reference now, or doesn't want the object.
---@param source integer
---@param obj lightuserdata
function versions:confirm(source, obj)
	local v = self.objects[obj]
	local n = v and v.pins[source]
	if not n then
		return
	end
	v.pins[source] = n > 1 and n - 1 or nil
	if v.superseded and next(v.pins) == nil then
		forget(self, v)
	end
end

--- Drop the watchers that died.
---@param v table
function versions:prune(v)
	local alive = {}
	for _, w in ipairs(v.watchers) do
		if self.alive(w.source) then
			alive[#alive + 1] = w
		end
	end
	v.watchers = alive
	v.prune_at = math.max(PRUNE_FIRST, #alive * 2)
end

--- Answer the current request with the version after `obj`, as soon as there is one; with nil when
--- the name is removed.
---@param source integer
---@param name string
---@param obj lightuserdata
function versions:monitor(source, name, obj)
	local v = self.names[name]
	if not v or v.obj ~= obj then
		skynet.retpack(self:query(source, name))
		return
	end
	table.insert(v.watchers, { source = source, answer = skynet.response() })
	if #v.watchers >= v.prune_at then
		self:prune(v)
	end
end

return versions
