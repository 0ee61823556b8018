--- A structure that one service writes and others read: a sproto type over skynet.stm.
--
-- The writer's changes stay its own until commit, which publishes the whole structure; a reader
-- shows what it had at its last update.

local loader = require "sprotoloader"
local stm = require "skynet.stm"

local sharemap = {}

local SLOT = 0 -- of the schema

--- Load the schema of all maps of this process.
--- Raises `Can't open sproto file`, or what is wrong with it.
---@param protofile string  file name
function sharemap.register(protofile)
	loader.register(protofile, SLOT)
end

---@class sharemap.writer
local writer = {}

-- object -> what belongs to it; its fields are the structure's
local state = setmetatable({}, { __mode = "k" })

--- Publish the structure as it is now.
--- Raises when a field doesn't fit its type.
function writer:commit()
	local s = state[self]
	s.stm(s.schema:encode(s.typename, s.data))
end

--- Make what one reader is made from; to be sent to it, and used once.
---@return lightuserdata
function writer:copy()
	return stm.copy(state[self].stm)
end

local writer_meta = {
	__index = function(self, key)
		return writer[key] or state[self].data[key]
	end,
	__newindex = function(self, key, value)
		if writer[key] then
			error(("sharemap: %s is a method of writers (rename the field)"):format(key), 2)
		end
		state[self].data[key] = value
	end,
	__pairs = function(self)
		return next, state[self].data, nil
	end,
}

--- A structure that others can read. It starts with what's in tbl, and writes go to tbl.
---@param typename string  a type of the schema
---@param tbl table|nil  default: {}
---@return sharemap.writer
function sharemap.writer(typename, tbl)
	local schema = loader.load(SLOT)
	local data = tbl or {}
	local self = {}
	state[self] = {
		schema = schema,
		typename = typename,
		data = data,
		stm = stm.new(schema:encode(typename, data)),
	}
	return setmetatable(self, writer_meta)
end

---@class sharemap.reader
local reader = {}

local function decode(msg, size, s)
	return (s.schema:decode(s.typename, msg, size))
end

local function refresh(s)
	local changed, data = s.stm(decode, s)
	if changed then
		s.data = data
	end
	return changed, data
end

--- Take over what was committed since the last time.
---@return boolean changed
---@return table|nil data  when changed: the structure
function reader:update()
	local changed, data = refresh(state[self])
	if changed then
		return true, data
	end
	return false
end

local reader_meta = {
	__index = function(self, key)
		return reader[key] or state[self].data[key]
	end,
	__newindex = function(_, key)
		error(("sharemap: a reader can't be written (field %s)"):format(tostring(key)), 2)
	end,
	__pairs = function(self)
		return next, state[self].data, nil
	end,
}

--- A read-only view of a writer's structure, as it was committed last.
---@param typename string  as for the writer
---@param ptr lightuserdata  from the writer's copy
---@return sharemap.reader
function sharemap.reader(typename, ptr)
	local s = {
		schema = loader.load(SLOT),
		typename = typename,
		data = {},
		stm = stm.newcopy(ptr),
	}
	refresh(s)
	local self = {}
	state[self] = s
	return setmetatable(self, reader_meta)
end

return sharemap
