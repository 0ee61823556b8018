--- The MongoDB driver: clients, databases and collections.
--
--     local client = mongo.client { host = "127.0.0.1", username = "u", password = "p" }
--     local ok, err, reply = client.game.player:safe_insert { name = "x" }
--
-- Any number of coroutines may use a client at once; they share one connection, which is made
-- again when it's lost. Replica sets are followed to their primary. Names are objects on the
-- way: client.NAME is a database, db.NAME a collection, so a missing field is never nil.
--
-- What's built on top: link (requests), auth, command (documents of commands), cursor,
-- transaction (an addition to switch on), each in its file beside.

local bson = require "bson"
local auth = require "skynet.db.mongo.auth"
local command = require "skynet.db.mongo.command"
local cursor = require "skynet.db.mongo.cursor"
local driver = require "skynet.mongo.driver"
local link = require "skynet.db.mongo.link"

local bson_decode = bson.decode
local array, result, check = command.array, command.result, command.check

local PORT = 27017
local TIMEOUT = 6000 -- centiseconds: what a request may take unless the client says otherwise

---@class skynet.mongo
local mongo = {
	null = assert(bson.null),
	maxkey = assert(bson.maxkey),
	minkey = assert(bson.minkey),
	type = assert(bson.type),
}

local client_class, db_class, collection_class = {}, {}, {}
local transaction -- the addition, if it was enabled

---------------------------------------------------------------------------------------------
-- Commands

-- The document of a command: cmd = value, $db, then the pairs given. Without a value it's 1, and
-- the pairs are dropped.
local function build(self, p, cmd, value, ...)
	p:add(cmd, value or 1):add("$db", self.name)
	return value and select("#", ...) or 0
end

local function add_pairs(p, n, ...)
	if n % 2 == 1 then
		error(("mongo: the value of %s is missing"):format(tostring((select(n, ...)))), 3)
	end
	for i = 1, n, 2 do
		local key, value = select(i, ...)
		p:add(key, value)
		if value == nil then
			error(("mongo: the value of %s is nil (leave it out, or use mongo.null)"):format(
				tostring(key)), 3)
		end
	end
end

-- How long the server may take on its own account, in centiseconds.
local function patience(n, ...)
	for i = 1, n, 2 do
		if select(i, ...) == "maxTimeMS" then
			return math.ceil((tonumber((select(i + 1, ...))) or 0) / 10) + 500
		end
	end
end

local function ask(client, doc, wait)
	local bytes = client.__link:request(doc, wait)
	local _, _, ptr, size = driver.reply(bytes)
	return bson_decode(ptr, size)
end

--- Run a command and return its reply, ok or not. Without a value, {cmd = 1} is sent and further
--- pairs are dropped.
--- Raises when the connection fails, there's no answer in time, or the reply is malformed.
---@param cmd string
---@param value any
---@param ... any  more keys and values, in the order to send them
---@return table reply
function db_class:runCommand(cmd, value, ...)
	local p = command.pairs()
	local n = build(self, p, cmd, value, ...)
	add_pairs(p, n, ...)
	if transaction then
		transaction.extend(self.connection, p)
	end
	return ask(self.connection, p:encode(), patience(n, ...))
end

--- Send a command without waiting for what becomes of it.
---@param cmd string
---@param value any
---@param ... any
---@return table  always { ok = 1 }
function db_class:send_command(cmd, value, ...)
	local p = command.pairs()
	local n = build(self, p, cmd, value, ...)
	local inside = transaction and transaction.extend(self.connection, p)
	if not inside then
		p:add("writeConcern", { w = 0 })
	end
	add_pairs(p, n, ...)
	self.connection.__link:post(p:encode())
	return { ok = 1 }
end

---------------------------------------------------------------------------------------------
-- Clients

local client_mt = {
	__index = function(self, key)
		return client_class[key] or self:getDB(key)
	end,
	__tostring = function(self)
		return ("[mongo client :\t%s:%s]"):format(self.host, self.port)
	end,
}

local db_mt = {
	__index = function(self, key)
		return db_class[key] or self:getCollection(key)
	end,
	__tostring = function(self)
		return "[mongo db :\t" .. self.name .. "]"
	end,
}

local collection_mt = {
	__index = function(self, key)
		return collection_class[key] or self:getCollection(key)
	end,
	__tostring = function(self)
		return "[mongo collection :\t" .. self.full_name .. "]"
	end,
}

-- "host:port" of a replica set's configuration; [v6]:port too.
local function split_address(address)
	local host, port = address:match "^%[?([^%]]*)%]?:(%d+)$"
	return host or address, tonumber(port) or PORT
end

local function login(client, user, password, database)
	local db = client:getDB(database)
	return auth.authenticate(function(...)
		return db:runCommand(...)
	end, client.__conf.authmod, user, password)
end

-- Go on only with a server that takes writes; the others say which one that is.
local function find_primary(client)
	local reply = client:runCommand "ismaster"
	if reply.ok ~= 1 then
		reply = client:runCommand "hello"
	end
	if type(reply.hosts) == "table" then
		local backup = {}
		for _, address in ipairs(reply.hosts) do
			local host, port = split_address(address)
			backup[#backup + 1] = { host = host, port = port }
		end
		client.__link:backup(backup)
	end
	if reply.ismaster or reply.isWritablePrimary then
		return
	elseif type(reply.primary) ~= "string" then
		error(("No primary return : %s"):format(tostring(reply.me)), 0)
	end
	client.host, client.port = split_address(reply.primary)
	client.__link:move(client.host, client.port)
end

local function on_connect(client)
	local conf = client.__conf
	if conf.username and conf.password then
		assert(login(client, conf.username, conf.password, conf.authdb or "admin"),
			"authentication failed")
	end
	find_primary(client)
end

---@class skynet.mongo.conf
---@field host string
---@field port integer|nil      default 27017
---@field username string|nil
---@field password string|nil
---@field authmod string|nil    scram_sha1, scram_sha256 or mongodb_cr
---@field authdb string|nil     default admin
---@field rs skynet.mongo.conf[]|nil  members of a replica set; the first one is tried first
---@field overload fun(on: boolean)|nil  see socketchannel
---@field timeout integer|nil   centiseconds for a request (default 6000); 0: for ever

--- Connect. Raises the socketchannel's error when no address can be used.
---@param conf skynet.mongo.conf
---@return table client
function mongo.client(conf)
	local first = conf.rs and conf.rs[1] or conf
	local function option(name)
		return first[name] or conf[name]
	end
	local timeout = conf.timeout or TIMEOUT
	local self = {
		host = assert(first.host, "mongo.client: host is missing"),
		port = first.port or PORT,
		__conf = {
			username = option "username", password = option "password",
			authmod = option "authmod", authdb = option "authdb",
		},
		__link = false,
	}
	local backup
	for i, member in ipairs(conf.rs or {}) do
		backup = backup or {}
		backup[i] = { host = member.host, port = member.port or PORT }
	end
	self.__link = link.new({
		host = self.host,
		port = self.port,
		backup = backup,
		nodelay = true,
		overload = conf.overload,
		auth = function()
			on_connect(self)
		end,
	}, timeout > 0 and timeout or nil)
	setmetatable(self, client_mt)
	local ok, err = pcall(self.__link.connect, self.__link)
	if not ok then
		self:disconnect()
		error(err, 0)
	end
	return self
end

--- A database by name, also one that's called like a method.
---@param name string
---@return table
function client_class:getDB(name)
	local db = { connection = self, name = name, full_name = name, database = false }
	db.database = db
	return setmetatable(db, db_mt)
end

--- Close the connection. The client can't be used any more.
function client_class:disconnect()
	local l = self.__link
	if l then
		self.__link = false
		l:close()
	end
end

--- The next request id.
---@return integer
function client_class:genId()
	return self.__link:next_id()
end

--- Run a command on the database admin.
---@param ... any  as db:runCommand
---@return table reply
function client_class:runCommand(...)
	return self:getDB("admin"):runCommand(...)
end

--- End the authentication of this connection.
---@return boolean
function client_class:logout()
	return self:getDB(self.__conf.authdb or "admin"):runCommand("logout").ok == 1
end

local bulk = {}

local function collation_and(p, op)
	return p:add("collation", op.collation):add("hint", op.hint)
end

function bulk.insert(op, ns)
	return command.pairs():add("insert", ns):add("document", op.insert)
end

function bulk.update(op, ns)
	local p = command.pairs():add("update", ns):add("filter", op.filter or {})
		:add("updateMods", op.update):add("multi", op.multi or false):add("upsert", op.upsert or false)
	return collation_and(p:add("arrayFilters", op.arrayFilters):add("constants", op.constants), op)
end

function bulk.delete(op, ns)
	return collation_and(command.pairs():add("delete", ns):add("filter", op.filter or {})
		:add("multi", op.multi or false), op)
end

--- Writes to several collections in one command (servers from 8.0 on).
---@param ops table[]  {op = "insert"|"update"|"delete", collection = "db.coll", …}
---@param comment any
---@param ordered boolean|nil
---@param bypass_validation boolean|nil
---@param errors_only boolean|nil
---@return boolean ok
---@return string|nil err  the messages of all failures, joined by ";"
---@return table reply
---@return integer[]|nil failed  positions of the failures, as the reply counts them (from 0)
function client_class:bulkWrite(ops, comment, ordered, bypass_validation, errors_only)
	local namespaces, index = {}, {}
	local list = array(ops, function(op)
		local ns = op.collection
		if not index[ns] then
			namespaces[#namespaces + 1] = { ns = ns }
			index[ns] = #namespaces - 1
		end
		local convert = bulk[op.op] or error(op.op, 0)
		return convert(op, index[ns]):encode()
	end)
	local p = command.pairs():add("bulkWrite", 1):add("ops", list):add("nsInfo", array(namespaces))
		:add("ordered", ordered):add("bypassDocumentValidation", bypass_validation)
		:add("comment", comment):add("errorsOnly", errors_only)
	local ok, err, reply = result(self:runCommand(p:unpack()))
	if not reply.nErrors or reply.nErrors == 0 then
		return ok, err, reply
	end
	local failed, messages = {}, {}
	for _, item in ipairs(reply.cursor and reply.cursor.firstBatch or {}) do
		if item.ok ~= 1 then
			failed[#failed + 1] = item.idx
			messages[#messages + 1] = item.errmsg
		end
	end
	return false, table.concat(messages, ";"), reply, failed
end

---------------------------------------------------------------------------------------------
-- Databases

--- Authenticate the connection as another user.
---@param user string
---@param password string
---@return boolean
function db_class:auth(user, password)
	return login(self.connection, user, password, self.name) and true or false
end

local function new_collection(db, full_name, name)
	return setmetatable({
		connection = db.connection,
		name = name,
		full_name = full_name,
		database = db,
	}, collection_mt)
end

--- A collection by name, also one that's called like a method.
---@param name string
---@return table
function db_class:getCollection(name)
	local coll = rawget(self, name)
	if getmetatable(coll) == collection_mt then
		return coll
	end
	local is_field = coll ~= nil
	coll = new_collection(self, self.full_name .. "." .. name, name)
	if not is_field and db_class[name] == nil then
		rawset(self, name, coll)
	end
	return coll
end

--- A collection whose full name continues this one's.
---@param name string
---@return table
function collection_class:getCollection(name)
	return new_collection(self.database, self.full_name .. "." .. name, name)
end

---------------------------------------------------------------------------------------------
-- Collections. "Safe" methods wait for the reply and return ok, err, reply; the others don't.

local function with_id(doc)
	if doc._id == nil then
		doc._id = bson.objectid()
	end
	return doc
end

local function one(item)
	return array { item }
end

---@class skynet.mongo.collection
---@field name string           what commands are sent to
---@field full_name string      "db.collection", with the names of collections above
---@field connection table      the client
---@field database table
---@field batch_insert fun(self, docs: table[])             each document gets an _id if it has none
---@field safe_batch_insert fun(self, docs: table[]): boolean, string|nil, table
---@field insert_many fun(self, docs: table[])
---@field safe_insert_many fun(self, docs: table[]): boolean, string|nil, table
---@field update fun(self, query: table, update: table, upsert: boolean|nil, multi: boolean|nil)
---@field safe_update fun(self, query: table, update: table, upsert: boolean|nil, multi: boolean|nil):
---  boolean, string|nil, table
---@field batch_update fun(self, list: {query: table, update: table, upsert: boolean, multi: boolean}[])
---@field safe_batch_update fun(self, list: table[]): boolean, string|nil, table
---@field delete fun(self, query: table, single: boolean|nil)  single: at most one document
---@field safe_delete fun(self, query: table, single: boolean|nil): boolean, string|nil, table
---@field raw_safe_insert fun(self, document: userdata): boolean, string|nil, table  takes bson
---@field raw_safe_update fun(self, update: userdata): boolean, string|nil, table  {q, u, …} in bson
---@field raw_safe_delete fun(self, delete: userdata): boolean, string|nil, table  {q, limit} in bson

-- Define NAME and safe_NAME: the same command, sent with and without waiting.
local function write_methods(name, cmd, list_name, items)
	collection_class[name] = function(self, ...)
		self.database:send_command(cmd, self.name, list_name, items(...))
	end
	collection_class["safe_" .. name] = function(self, ...)
		return result(self.database:runCommand(cmd, self.name, list_name, items(...)))
	end
end

--- Insert a document without waiting; it gets an _id if it has none.
---@param doc table
function collection_class:insert(doc)
	self.database:send_command("insert", self.name, "documents", one(with_id(doc)))
end

--- Insert a document as it is.
---@param doc table
---@return boolean ok, string|nil err, table reply
function collection_class:safe_insert(doc)
	return result(self.database:runCommand("insert", self.name, "documents", one(doc)))
end

write_methods("batch_insert", "insert", "documents", function(docs)
	return array(docs, function(doc)
		return type(doc) == "table" and with_id(doc) or doc
	end)
end)
collection_class.insert_many = collection_class.batch_insert
collection_class.safe_insert_many = collection_class.safe_batch_insert

write_methods("update", "update", "updates", function(...)
	return one(command.update(...))
end)

write_methods("batch_update", "update", "updates", function(list)
	return array(list, function(u)
		return command.update(u.query, u.update, u.upsert, u.multi)
	end)
end)

write_methods("delete", "delete", "deletes", function(...)
	return one(command.delete(...))
end)

--- Delete by several queries.
---@param queries table[]
---@param single boolean|nil  at most one document each
---@return boolean ok, string|nil err, table reply
function collection_class:safe_batch_delete(queries, single)
	return result(self.database:runCommand("delete", self.name, "deletes", array(queries, function(q)
		return command.delete(q, single)
	end)))
end

local function raw_method(cmd, list_name)
	return function(self, doc)
		return result(self.database:runCommand(cmd, self.name, list_name, one(doc)))
	end
end

collection_class.raw_safe_insert = raw_method("insert", "documents")
collection_class.raw_safe_update = raw_method("update", "updates")
collection_class.raw_safe_delete = raw_method("delete", "deletes")

--- The first document that matches, or nil. Raises the server's error text.
---@param query table|nil
---@param projection table|nil
---@return table|nil
function collection_class:findOne(query, projection)
	local reply = check(self.database:runCommand("find", self.name, "filter", query or {},
		"limit", 1, "projection", projection or {}))
	local c = reply.cursor
	return type(c) == "table" and type(c.firstBatch) == "table" and c.firstBatch[1] or nil
end

--- A cursor over what matches; nothing is sent before hasNext or count.
---@param query table|nil
---@param projection table|nil
function collection_class:find(query, projection)
	return cursor.find(self, query, projection)
end

--- A cursor over what a pipeline gives.
---@param pipeline table[]
---@param options table|nil  further fields of the command
function collection_class:aggregate(pipeline, options)
	return cursor.aggregate(self, pipeline, options)
end

--- Change or remove one document and return it.
---@param doc table  query, update or remove, and options: sort, new, fields, upsert …
---@return table reply
function collection_class:findAndModify(doc)
	assert(doc.query, "findAndModify needs a query")
	assert(doc.update or doc.remove, "findAndModify needs update or remove")
	return self.database:runCommand(command.pairs():add("findAndModify", self.name)
		:add("query", doc.query):add("sort", doc.sort):add("remove", doc.remove)
		:add("update", doc.update)
		:add_all(doc, { query = true, sort = true, remove = true, update = true }):unpack())
end

local function create_indexes(self, specs)
	return self.database:runCommand("createIndexes", self.name, "indexes", command.indexes(specs))
end

--- Create an index: {{k1 = 1}, {k2 = -1}, unique = true} or {"k1", "k2"}; or, for one key,
--- ({k = 1}, {unique = true}).
---@param spec table
---@param options table|nil
---@return table reply
function collection_class:createIndex(spec, options)
	if options then
		spec = command.index_of_one_key(spec, options)
	end
	return create_indexes(self, { spec })
end
collection_class.ensureIndex = collection_class.createIndex

--- Create several indexes.
---@param ... table
---@return table reply
function collection_class:createIndexes(...)
	return create_indexes(self, { ... })
end

--- Drop the collection.
---@return table reply
function collection_class:drop()
	return self.database:runCommand("drop", self.name)
end

--- Drop an index by its name, or all of them.
---@param name string  or "*"
---@return table reply
function collection_class:dropIndex(name)
	return self.database:runCommand("dropIndexes", self.name, "index", name)
end

---------------------------------------------------------------------------------------------

local enabled = {}

--- Switch on an addition: "transaction".
---@param name string
function mongo.enable(name)
	if enabled[name] then
		return
	end
	assert(name == "transaction", "mongo.enable: there's only \"transaction\"")
	transaction = require "skynet.db.mongo.transaction"
	transaction.install(db_class)
	enabled[name] = true
end

return mongo
