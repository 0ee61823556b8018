--- Cursors of find and aggregate: they fetch from the server when hasNext needs more.
--
-- A cursor has the batch it reads from, `items` and `at`, and the id of the server's cursor, `id`
-- (nil before the first request, 0 when the server has no more).

local command = require "skynet.db.mongo.command"
local bson = require "bson"

local cursor = {}

local methods = {}

local function need(value, what)
	if type(value) ~= "table" then
		error(("mongo: the reply has no %s"):format(what), 3)
	end
	return value
end

local function kill(self)
	local id = self.id
	self.id = 0
	if id and id ~= 0 then
		local coll = self.collection
		coll.database:send_command("killCursors", coll.name, "cursors",
			command.array { bson.int64(id) })
	end
end

local function take(self, reply, batch)
	local c = need(command.check(reply).cursor, "cursor")
	self.items, self.at = need(c[batch], batch), 0
	self.id = math.tointeger(c.id) or 0
end

local function get_more(self)
	local coll = self.collection
	local p = command.pairs():add("getMore", bson.int64(self.id)):add("collection", coll.name)
	if self.batch and self.batch > 0 then
		p:add("batchSize", self.batch)
	end
	local reply = coll.database:runCommand(p:unpack())
	if reply.ok ~= 1 then
		self.id, self.items, self.at = 0, {}, 0
	end
	take(self, reply, "nextBatch")
end

--- Is there another document? Asks the server when necessary. Raises the server's error text.
---@return boolean
function methods:hasNext()
	if self.items == nil then
		take(self, self:first_batch(), "firstBatch")
	end
	while self.at >= #self.items do
		if self.id == 0 then
			return false
		elseif self.limit_to > 0 and self.seen >= self.limit_to then
			kill(self)
			return false
		end
		get_more(self)
	end
	return true
end

--- The next document; hasNext must have said that there's one.
---@return table
function methods:next()
	if self.items == nil or self.at >= #self.items then
		error "Call\thasNext\tfirst"
	end
	self.at = self.at + 1
	self.seen = self.seen + 1
	local item = self.items[self.at]
	self.items[self.at] = false
	return item
end

--- Drop the server's cursor. Documents that have arrived can still be read.
function methods:close()
	kill(self)
end

local function new(collection, class)
	return setmetatable({ collection = collection, at = 0, seen = 0, limit_to = 0 }, class)
end

---------------------------------------------------------------------------------------------

local find = setmetatable({}, { __index = methods })
find.__index = find

---@param collection table
---@param query table|nil
---@param projection table|nil
function cursor.find(collection, query, projection)
	local c = new(collection, find)
	c.query, c.projection = query or {}, projection or {}
	c.order = {}
	return c
end

--- Sort by a document, or in this order by several of one key each.
function find:sort(...)
	self.order = command.ordered(...)
	return self
end

---@param n integer
function find:skip(n)
	self.skip_over = n
	return self
end

---@param n integer
function find:limit(n)
	self.limit_to = n
	return self
end

---@param hint string|table  name or keys of an index
function find:hint(hint)
	self.use = hint
	return self
end

---@param ms integer  milliseconds that the server may take
function find:maxTimeMS(ms)
	self.time = ms
	return self
end

---@param n integer  documents a batch
function find:batchSize(n)
	self.batch = n
	return self
end

--- Number of documents that match. Raises the server's error text.
---@param with_limit_and_skip boolean|nil
---@return integer
function find:count(with_limit_and_skip)
	local coll = self.collection
	local p = command.pairs():add("count", coll.name):add("query", self.query):add("hint", self.use)
		:add("maxTimeMS", self.time)
	if with_limit_and_skip then
		p:add("skip", self.skip_over):add("limit", self.limit_to > 0 and self.limit_to or nil)
	end
	return math.tointeger(command.check(coll.database:runCommand(p:unpack())).n)
end

function find:first_batch()
	local coll = self.collection
	return coll.database:runCommand(command.pairs():add("find", coll.name)
		:add("filter", self.query):add("sort", self.order):add("projection", self.projection)
		:add("skip", self.skip_over):add("limit", self.limit_to ~= 0 and self.limit_to or nil)
		:add("hint", self.use):add("maxTimeMS", self.time):add("batchSize", self.batch):unpack())
end

---------------------------------------------------------------------------------------------

local aggregate = setmetatable({}, { __index = methods })
aggregate.__index = aggregate

---@param collection table
---@param pipeline table[]
---@param options table|nil
function cursor.aggregate(collection, pipeline, options)
	local c = new(collection, aggregate)
	c.pipeline = table.move(pipeline, 1, #pipeline, 1, {})
	c.options = options or {}
	local wanted = c.options.cursor
	c.batch = type(wanted) == "table" and math.tointeger(wanted.batchSize) or nil
	return c
end

--- Sort by a document, or in this order by several of one key each.
function aggregate:sort(...)
	self.order = command.ordered(...)
	return self
end

---@param n integer
function aggregate:skip(n)
	self.skip_over = n
	return self
end

---@param n integer
function aggregate:limit(n)
	self.take_most = n
	return self
end

-- Run the pipeline with more stages behind it: { name, value }, those without a value left out.
local function run(self, stages)
	local pipeline = table.move(self.pipeline, 1, #self.pipeline, 1, {})
	for _, s in ipairs(stages) do
		if s[2] ~= nil then
			pipeline[#pipeline + 1] = { [s[1]] = s[2] }
		end
	end
	local coll = self.collection
	local p = command.pairs():add("aggregate", coll.name):add("pipeline", command.array(pipeline))
	p:add_all(self.options, { cursor = true }):add("cursor", self.options.cursor or {})
	return coll.database:runCommand(p:unpack())
end

function aggregate:first_batch()
	return run(self, { { "$sort", self.order }, { "$skip", self.skip_over },
		{ "$limit", self.take_most } })
end

--- Number of documents that the pipeline gives. Raises the server's error text.
---@param with_limit_and_skip boolean|nil  count after skip and limit
---@return integer
function aggregate:count(with_limit_and_skip)
	local skip, most = self.skip_over, self.take_most
	if not with_limit_and_skip then
		skip, most = nil, nil
	end
	local reply = command.check(run(self, { { "$skip", skip }, { "$limit", most },
		{ "$count", "__count" } }))
	local first = need(need(reply.cursor, "cursor").firstBatch, "firstBatch")[1]
	return first and math.tointeger(first.__count) or 0
end

return cursor
