--- Building MongoDB commands, and reading their replies.

local bson = require "bson"

local encode_order = bson.encode_order
local unpack = table.unpack

local command = {}

local array_mt = {
	__len = function(self)
		return self.n
	end,
}

--- A list that is an array on the wire, also when it's empty (a plain {} is a document).
---@param list table|nil
---@param convert nil|fun(item: any): any
---@return table
function command.array(list, convert)
	local a = { n = list and #list or 0 }
	for i = 1, a.n do
		a[i] = convert and convert(list[i]) or list[i]
	end
	return setmetatable(a, array_mt)
end

--- Keys and values in order, as encode_order takes them; pairs without a value are left out.
---@class skynet.mongo.pairs
local pairs_class = {}
pairs_class.__index = pairs_class

---@return skynet.mongo.pairs
function command.pairs()
	return setmetatable({ n = 0 }, pairs_class)
end

---@param key string
---@param value any
---@return skynet.mongo.pairs
function pairs_class:add(key, value)
	if value ~= nil then
		local n = self.n
		self[n + 1], self[n + 2] = key, value
		self.n = n + 2
	end
	return self
end

--- All fields of a table but those in `except`, by name, so that the order is always the same.
---@param t table
---@param except table<string, boolean>|nil
---@return skynet.mongo.pairs
function pairs_class:add_all(t, except)
	local keys = {}
	for k in pairs(t) do
		if not (except and except[k]) then
			keys[#keys + 1] = k
		end
	end
	table.sort(keys)
	for _, k in ipairs(keys) do
		self:add(k, t[k])
	end
	return self
end

---@return any ...
function pairs_class:unpack()
	return unpack(self, 1, self.n)
end

---@return userdata bson
function pairs_class:encode()
	return encode_order(unpack(self, 1, self.n))
end

--- A document with its keys in order, from { k1 = v }, { k2 = v }, … or one table.
---@param first table
---@param ... table
---@return table|userdata
function command.ordered(first, ...)
	if select("#", ...) == 0 then
		return first
	end
	local p = command.pairs()
	for _, item in ipairs { first, ... } do
		p:add(next(item))
	end
	return p:encode()
end

--- What became of a write: ok, the first error's text, the reply.
---@param reply table
---@return boolean ok, string|nil err, table reply
function command.result(reply)
	local ok = reply.ok == 1 and not (reply.writeErrors or reply.writeConcernError or reply.errmsg)
	local err
	if not ok then
		local first = reply.writeErrors and reply.writeErrors[1]
		err = first and first.errmsg or
			reply.writeConcernError and reply.writeConcernError.errmsg or reply.errmsg
	end
	return ok, err, reply
end

--- The reply; raises its error text when it isn't ok.
---@param reply table
---@return table
function command.check(reply)
	if reply.ok ~= 1 then
		error(reply.errmsg or "Reply from mongod error", 3)
	end
	return reply
end

---@param query table|nil
---@param update table
---@param upsert boolean|nil
---@param multi boolean|nil
---@return userdata bson  one element of the command update
function command.update(query, update, upsert, multi)
	return command.pairs():add("q", query or {}):add("u", update):add("upsert", upsert)
		:add("multi", multi):encode()
end

---@param query table|nil
---@param single boolean|nil
---@return userdata bson  one element of the command delete
function command.delete(query, single)
	return encode_order("q", query or {}, "limit", single and 1 or 0)
end

-- One index: { {k = 1}, "k2", unique = true } -> its document.
local function index(spec)
	local keys, names = command.pairs(), {}
	for _, item in ipairs(spec) do
		local key, value = item, 1
		if type(item) == "table" then
			key, value = next(item)
		end
		keys:add(key, value)
		names[#names + 1] = ("%s_%s"):format(key, value)
	end
	assert(keys.n > 0, "Need keys")
	local options = command.pairs()
	options:add("key", keys:encode())
	local named = {}
	for k, v in pairs(spec) do
		if type(k) == "string" then
			named[k] = v
		end
	end
	named.name = named.name or table.concat(names, "_")
	return options:add_all(named):encode()
end

--- The indexes of createIndexes.
---@param specs table[]
---@return table
function command.indexes(specs)
	return command.array(specs, index)
end

--- The form createIndex({k = 1}, {unique = true}) as a spec.
---@param key table
---@param options table
---@return table
function command.index_of_one_key(key, options)
	local name, value = next(key)
	assert(name ~= nil, "Need keys")
	assert(next(key, name) == nil, "Use new api for multi-keys")
	local spec = { { [name] = value } }
	for k, v in pairs(options) do
		if type(k) == "string" then
			spec[k] = v
		end
	end
	return spec
end

return command
