--- Transactions (mongo.enable "transaction"): commands that take effect together or not at all.
--
-- A transaction belongs to the coroutine that runs it: every command that this coroutine sends to
-- the same client gets the fields of the transaction. Commands of other coroutines don't.

local command = require "skynet.db.mongo.command"
local bson = require "bson"

local MAX_NUMBER = 9999999

local number = 0

-- coroutine -> { client, id (of the session), number, started }
local running = setmetatable({}, { __mode = "k" })

local transaction = {}

local function current(client)
	local t = running[coroutine.running()]
	return t and t.client == client and t or nil
end

--- Add what marks a command as part of the transaction that runs here.
---@param client table
---@param p table  the command being built
---@return boolean  does one run?
function transaction.extend(client, p)
	local t = current(client)
	if not t then
		return false
	end
	p:add("lsid", t.id):add("txnNumber", bson.int64(t.number)):add("autocommit", false)
	if not t.started then
		t.started = true
		p:add("startTransaction", true)
	end
	return true
end

local function finish(db, how)
	local client = db.connection
	local t = assert(current(client), "mongo: no transaction runs in this coroutine")
	running[coroutine.running()] = nil -- these fields are given here
	return client:runCommand(how, 1, "lsid", t.id, "txnNumber", bson.int64(t.number),
		"autocommit", false)
end

local methods = {}

--- Start a session on the server.
---@return table id
function methods:startSession_()
	local reply = command.check(self.connection:runCommand("startSession", 1))
	return reply.id
end

---@param id table
function methods:endSessions_(id)
	return self.connection:runCommand("endSessions", command.array { id })
end

function methods:commit_transaction_()
	return finish(self, "commitTransaction")
end

function methods:abort_transaction_()
	return finish(self, "abortTransaction")
end

-- Run func inside a transaction; nil, or an error text.
local function run(self, id, func)
	local co = coroutine.running()
	local t = { client = self.connection, id = id, number = number }
	running[co] = t
	local ok, err = xpcall(func, function(e)
		return debug.traceback(tostring(e))
	end)
	if not t.started then -- the server knows nothing of it
		running[co] = nil
		return not ok and err or nil
	end
	local called, reply = pcall(ok and self.commit_transaction_ or self.abort_transaction_, self)
	running[co] = nil
	if not ok then
		return err
	elseif not called then
		return tostring(reply)
	elseif reply.ok ~= 1 then
		return reply.errmsg or "Reply from mongod error"
	end
	return select(2, command.result(reply))
end

--- Run a function whose commands take effect together, or not at all if it raises.
--- It may not be nested.
---@param func fun()
---@return string|nil err  nil when the transaction was committed
function methods:run_transaction(func)
	if running[coroutine.running()] then
		return "mongo: a transaction runs in this coroutine already"
	end
	local started, id = pcall(self.startSession_, self)
	if not started then
		return tostring(id)
	end
	number = number % MAX_NUMBER + 1
	local err = run(self, id, func)
	local ended, why = pcall(self.endSessions_, self, id)
	if not ended then
		require("skynet").error("mongo: endSessions failed:", why) -- the server forgets it in time
	end
	return err
end

--- Add the methods to the class of databases; called by mongo.enable.
---@param db_class table
function transaction.install(db_class)
	for name, f in pairs(methods) do
		db_class[name] = f
	end
end

return transaction
