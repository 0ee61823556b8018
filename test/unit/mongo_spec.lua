-- The MongoDB driver against a server of the spec's own, which checks every byte of the wire.

local eventually = require "eventually"
local skynet = require "skynet"
local bson = require "bson"
local crypt = require "skynet.crypt"
local driver = require "skynet.mongo.driver"
local auth = require "skynet.db.mongo.auth"
local mongo = require "skynet.db.mongo"
local peer = require "mongo_peer"

local function hex(s)
	return (tostring(s):gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

local function raises(text, f, ...)
	local ok, err = pcall(f, ...)
	if ok then
		error("no error was raised", 2)
	end
	assert.truthy(tostring(err):find(text, 1, true), ("%q isn't in %q"):format(text, tostring(err)))
end

local server, client, db, coll

local function open(answers, conf)
	server = peer.start(answers)
	conf = conf or {}
	conf.host, conf.port = "127.0.0.1", server.port
	client = mongo.client(conf)
	db = client.game
	coll = db.player
end

-- The last command on the wire is exactly this one.
local function sent(...)
	assert.equal(hex(bson.encode_order(...)), hex(server.last.raw))
end

local function list(...)
	local n = select("#", ...)
	local items = { ... }
	return setmetatable({}, { __len = function() return n end, __index = items })
end

local order = bson.encode_order

after_each(function()
	if client and client.__link then
		client:disconnect()
	end
	if server then
		server:stop()
	end
	server, client = nil, nil
end)

describe("skynet.mongo.driver", function()
	local doc = bson.encode_order("ping", 1, "$db", "x")

	it("writes and reads OP_MSG", function()
		local m = driver.op_msg(7, 2, doc)
		assert.equal(hex(string.pack("<i4i4i4i4I4B", 21 + #doc, 7, 0, 2013, 2, 0)) .. hex(doc), hex(m))
		assert.equal(#m - 4, driver.length(m))
		assert.equal(-5, driver.length "\xff\xff\xff\xff")
		local reply = peer.message(1, 7, doc):sub(5)
		local ok, id, ptr, size = driver.reply(reply)
		assert.same({ true, 7, #doc }, { ok, id, size })
		assert.same({ ping = 1, ["$db"] = "x" }, bson.decode(ptr))
		assert.is_false(driver.reply "short")
	end)

	it("refuses other messages", function()
		local function reply(flags, opcode, tail)
			return driver.reply, (peer.message(1, 7, doc, flags, opcode) .. (tail or "")):sub(5)
		end
		raises("Unsupported opcode:1", reply(0, 1))
		raises("Unsupported OP_MSG flag checksumPresent", reply(1))
		raises("Unsupported OP_MSG flag:65536", reply(65536))
		raises("Unsupported OP_MSG reply: >1 section", reply(0, nil, "\0"))
		raises("Unsupported OP_MSG payload type: 1", driver.reply,
			(peer.message(1, 7, doc):sub(5):gsub("^(................)\0", "%1\1")))
		raises("the document is cut off", driver.reply, peer.message(1, 7, doc):sub(5, -2))
		raises("opmsg require cmd document", driver.op_msg, 1, 0, {})
	end)
end)

describe("mongo authentication", function()
	it("computes the vector of SCRAM-SHA-1", function()
		local md5 = require "md5"
		local first, continue = auth.scram_messages("sha1", "u", md5.sumhexa "u:mongo:p", "EQy9Q9w+t4o=")
		assert.equal("n,,n=u,r=EQy9Q9w+t4o=", first)
		local final, signature = continue "r=EQy9Q9w+t4o=SRV,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=10"
		assert.equal("c=biws,r=EQy9Q9w+t4o=SRV,p=fTIkBQ/xy6BAcdp0HhHYxHRpfPo=", final)
		assert.equal("ZPEvJ8p562jFz7ZhfXTson+wdxo=", signature)
	end)

	it("computes the vector of SCRAM-SHA-256", function() -- RFC 7677, 3
		local first, continue = auth.scram_messages("sha256", "user", "pencil", "rOprNGfwEbeRWgbNEkqO")
		assert.equal("n,,n=user,r=rOprNGfwEbeRWgbNEkqO", first)
		local final, signature = continue("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0," ..
			"s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
		assert.equal("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0," ..
			"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", final)
		assert.equal("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", signature)
	end)

	it("refuses what a server shouldn't say", function()
		local _, continue = auth.scram_messages("sha1", "a=b,c", "p", "abc")
		assert.equal("n,,n=a=3Db=2Cc,r=abc", (auth.scram_messages("sha1", "a=b,c", "p", "abc")))
		assert.is_nil(continue "r=xyz,s=AAAA,i=10")
		assert.is_nil(continue "r=abcd,s=AAAA")
		raises("out of range", continue, "r=abcd,s=AAAA,i=2000000000")
	end)

	-- A server that knows one user, by either mechanism.
	local function scram_answers(user, password, options)
		options = options or {}
		local state = {}
		local answers = {}
		function answers.saslStart(doc)
			if options.only and doc.mechanism ~= options.only then
				return { ok = 0, code = 334, errmsg = "mechanism isn't available" }
			end
			state.digest = doc.mechanism == "SCRAM-SHA-1" and "sha1" or "sha256"
			state.bare = crypt.base64decode(doc.payload):sub(4)
			local nonce = state.bare:match "r=(.*)$"
			state.nonce = (options.bad_nonce and "x" or nonce) .. "SERVER"
			state.server_first = ("r=%s,s=%s,i=64"):format(state.nonce, crypt.base64encode "salt")
			assert(doc.autoAuthorize == 1 and doc["$db"] == (options.db or "admin"))
			return { ok = 1, conversationId = 5, done = false, payload = crypt.base64encode(state.server_first) }
		end
		function answers.saslContinue(doc)
			assert(doc.conversationId == 5)
			if doc.payload == "" then
				return { ok = 1, conversationId = 5, done = not options.never_done, payload = "" }
			end
			local final = crypt.base64decode(doc.payload)
			local secret = password
			if state.digest == "sha1" then
				secret = require("md5").sumhexa(user .. ":mongo:" .. password)
			end
			local hmac = driver.hmac
			local salted = driver.pbkdf2(state.digest, secret, "salt", 64)
			local without = final:match "^(.*),p="
			local text = table.concat({ state.bare, state.server_first, without }, ",")
			local client_key = hmac(state.digest, salted, "Client Key")
			local signature = hmac(state.digest, driver.hash(state.digest, client_key), text)
			if crypt.base64encode(crypt.xor_str(client_key, signature)) ~= final:match "p=(.*)$" then
				return { ok = 0, code = 18, errmsg = "Authentication failed." }
			end
			local v = hmac(state.digest, hmac(state.digest, salted, "Server Key"), text)
			return { ok = 1, conversationId = 5, done = false,
				payload = crypt.base64encode("v=" .. crypt.base64encode(options.bad_signature and "no" or v)) }
		end
		return answers
	end

	it("logs in with either mechanism", function()
		for _, mechanism in ipairs { "scram_sha1", "scram_sha256" } do
			open(scram_answers("u,1", "secret"), { username = "u,1", password = "secret", authmod = mechanism })
			assert.equal(3, #server:requests "saslStart" + #server:requests "saslContinue")
			assert.equal("ismaster", server.last.name)
			client:disconnect()
			server:stop()
		end
	end)

	it("takes the mechanism that the user has", function()
		open(scram_answers("u", "p", { only = "SCRAM-SHA-256", db = "accounts" }),
			{ username = "u", password = "p", authdb = "accounts" })
		assert.equal(2, #server:requests "saslStart")
	end)

	it("fails clearly", function()
		for text, options in pairs {
			["Authentication failed."] = {}, ["invalid nonce"] = { bad_nonce = true },
			["invalid signature"] = { bad_signature = true }, ["failed to complete"] = { never_done = true },
		} do
			local password = text == "Authentication failed." and "wrong" or "p"
			raises("", open, scram_answers("u", "p", options), { username = "u", password = password })
			assert.equal(0, #server:requests "ismaster")
			server:stop()
		end
		raises("Invalid authmod", open, {}, { username = "u", password = "p", authmod = "plain" })
	end)

	it("authenticates a database on an open connection, and logs out", function()
		local answers = scram_answers("u", "p", { db = "game" })
		answers.logout = { ok = 1 }
		open(answers)
		assert.is_true(db:auth("u", "p"))
		assert.is_false(db:auth("u", "q"))
		assert.is_true(client:logout())
	end)

	it("knows MONGODB-CR", function()
		open({ getnonce = { ok = 1, nonce = "abc" }, authenticate = { ok = 1 } },
			{ username = "u", password = "p", authmod = "mongodb_cr" })
		local r = server:requests("authenticate")[1]
		assert.equal(hex(order("authenticate", 1, "$db", "admin", "user", "u", "nonce", "abc",
			"key", "599e2b1aa7ce5872751b39e2a40934eb")), hex(r.raw))
	end)
end)

describe("mongo objects", function()
	it("name databases and collections on the way", function()
		open()
		assert.equal(("[mongo client :\t127.0.0.1:%d]"):format(server.port), tostring(client))
		assert.equal("[mongo db :\tgame]", tostring(db))
		assert.equal("[mongo collection :\tgame.player.items]", tostring(coll.items))
		assert.equal("items", coll.items.name)
		assert.equal("game.player", coll.full_name)
		assert.equal(coll, db.player)
		assert.equal(client, coll.connection)
		assert.equal(db, coll.database)
		assert.equal("game.runCommand", db:getCollection("runCommand").full_name)
		assert.equal("function", type(db.runCommand))
		assert.equal("game.name", db:getCollection("name").full_name)
		assert.equal("game", db.name)
		assert.equal(bson.null, mongo.null)
		client:disconnect()
		raises("attempt to index", db.runCommand, db, "ping")
	end)

	it("send commands in order", function()
		open { ping = { ok = 1 }, count = { ok = 0, errmsg = "no" } }
		assert.equal(hex(order("ismaster", 1, "$db", "admin")), hex(server.log[1].raw))
		assert.same({ ok = 1 }, db:runCommand "ping")
		sent("ping", 1, "$db", "game")
		assert.equal(2013, server.last.opcode)
		assert.equal(server.log[1].id + 1, server.last.id)
		db:runCommand("ping", nil, "dropped", 1)
		sent("ping", 1, "$db", "game")
		assert.same({ ok = 0, errmsg = "no" }, db:runCommand("count", "player", "z", 1, "a", 2))
		sent("count", "player", "$db", "game", "z", 1, "a", 2)
		client:runCommand("ping", 1)
		sent("ping", 1, "$db", "admin")
		raises("the value of a is nil", db.runCommand, db, "ping", 1, "a", nil)
		assert.same({ ok = 1 }, db:send_command("count", "player", "z", 1))
		eventually(function() return server.last.flags == 2 end)
		sent("count", "player", "$db", "game", "writeConcern", { w = 0 }, "z", 1)
	end)

	it("share a connection between coroutines", function()
		open { echo = function(doc)
			if doc.n % 3 == 0 then
				skynet.sleep(1)
			end
			return { ok = 1, n = doc.n }
		end }
		local left = 100
		for i = 1, 100 do
			skynet.fork(function()
				if db:runCommand("echo", 1, "n", i).n == i then
					left = left - 1
				end
			end)
		end
		eventually(function() return left == 0 end)
	end)
end)

describe("mongo writes", function()
	local fine = { ok = 1, n = 1 }

	before_each(function()
		open { insert = fine, update = fine, delete = fine, findAndModify = fine, createIndexes = fine,
			drop = fine, dropIndexes = fine }
	end)

	local function unsafe(f, ...)
		local n = #server.log
		assert.is_nil(f(...))
		eventually(function() return #server.log > n end)
		assert.equal(2, server.last.flags)
	end

	it("insert", function()
		local doc = { a = 1 }
		unsafe(coll.insert, coll, doc)
		assert.equal("objectid", (bson.type(doc._id)))
		assert.same({ doc }, server.last.doc.documents)
		local ok, err, reply = coll:safe_insert { a = 2 }
		assert.same({ true, nil, fine }, { ok, err, reply })
		sent("insert", "player", "$db", "game", "documents", { { a = 2 } })
		coll:raw_safe_insert(order("z", 1, "a", 2))
		sent("insert", "player", "$db", "game", "documents", { order("z", 1, "a", 2) })
		local docs = { { a = 1 }, { a = 2, _id = 5 } }
		assert.is_true(coll:safe_batch_insert(docs))
		assert.same(docs, server.last.doc.documents)
		assert.equal("objectid", (bson.type(docs[1]._id)))
		unsafe(coll.insert_many, coll, docs)
		coll:safe_insert_many {}
		sent("insert", "player", "$db", "game", "documents", list())
	end)

	it("update", function()
		coll:safe_update({ a = 1 }, { ["$set"] = { b = 2 } })
		local u = order("q", { a = 1 }, "u", { ["$set"] = { b = 2 } })
		sent("update", "player", "$db", "game", "updates", { u })
		unsafe(coll.update, coll, { a = 1 }, { b = 2 }, true, false)
		u = order("q", { a = 1 }, "u", { b = 2 }, "upsert", true, "multi", false)
		sent("update", "player", "$db", "game", "writeConcern", { w = 0 }, "updates", { u })
		coll:safe_batch_update { { query = { a = 1 }, update = { b = 2 }, upsert = true, multi = false } }
		sent("update", "player", "$db", "game", "updates", { u })
		unsafe(coll.batch_update, coll, {})
		coll:raw_safe_update(u)
		sent("update", "player", "$db", "game", "updates", { u })
	end)

	it("delete", function()
		coll:safe_delete({ a = 1 }, true)
		sent("delete", "player", "$db", "game", "deletes", { order("q", { a = 1 }, "limit", 1) })
		unsafe(coll.delete, coll, { a = 1 })
		sent("delete", "player", "$db", "game", "writeConcern", { w = 0 }, "deletes",
			{ order("q", { a = 1 }, "limit", 0) })
		coll:safe_batch_delete({ { a = 1 }, { a = 2 } }, true)
		sent("delete", "player", "$db", "game", "deletes",
			{ order("q", { a = 1 }, "limit", 1), order("q", { a = 2 }, "limit", 1) })
		coll:raw_safe_delete(order("q", {}, "limit", 0))
	end)

	it("tell what went wrong", function()
		for _, case in ipairs {
			{ { ok = 1, n = 0, writeErrors = { { code = 11000, errmsg = "E11000 duplicate key error" } } },
				"E11000 duplicate key error" },
			{ { ok = 1, writeConcernError = { errmsg = "too few members" } }, "too few members" },
			{ { ok = 0, errmsg = "not primary" }, "not primary" },
		} do
			server.answers.insert = case[1]
			assert.same({ false, case[2], case[1] }, { coll:safe_insert { a = 1 } })
		end
	end)

	it("find and modify", function()
		assert.same(fine, coll:findAndModify { query = { a = 1 }, update = { b = 1 }, upsert = true, new = true,
			sort = { a = -1 } })
		sent("findAndModify", "player", "$db", "game", "query", { a = 1 }, "sort", { a = -1 },
			"update", { b = 1 }, "new", true, "upsert", true)
		raises("needs a query", coll.findAndModify, coll, { update = {} })
		raises("needs update or remove", coll.findAndModify, coll, { query = {} })
	end)

	it("make and drop indexes", function()
		local function index(...)
			sent("createIndexes", "player", "$db", "game", "indexes", { order(...) })
		end
		assert.same(fine, coll:createIndex { { a = 1 }, { b = -1 }, unique = true })
		index("key", order("a", 1, "b", -1), "name", "a_1_b_-1", "unique", true)
		coll:ensureIndex { "a", "b", name = "mine" }
		index("key", order("a", 1, "b", 1), "name", "mine")
		coll:createIndex({ k = 1 }, { unique = true })
		index("key", order("k", 1), "name", "k_1", "unique", true)
		coll:createIndexes({ "a" }, { { t = 1 }, expireAfterSeconds = 5 })
		sent("createIndexes", "player", "$db", "game", "indexes", { order("key", order("a", 1), "name", "a_1"),
			order("key", order("t", 1), "expireAfterSeconds", 5, "name", "t_1") })
		raises("Need keys", coll.createIndex, coll, { unique = true })
		raises("Use new api for multi-keys", coll.createIndex, coll, { a = 1, b = 1 }, {})
		assert.same(fine, coll:drop())
		sent("drop", "player", "$db", "game")
		coll:dropIndex "*"
		sent("dropIndexes", "player", "$db", "game", "index", "*")
	end)

	it("in bulk", function()
		local ops = {
			{ op = "insert", collection = "game.a", insert = { x = 1 } },
			{ op = "update", collection = "game.b", filter = { x = 1 }, update = { y = 1 }, upsert = true },
			{ op = "delete", collection = "game.a", filter = { x = 1 }, hint = "x_1" },
		}
		server.answers.bulkWrite = { ok = 1, nErrors = 0, cursor = { firstBatch = list() } }
		assert.is_true((client:bulkWrite(ops, "why", false, true, true)))
		sent("bulkWrite", 1, "$db", "admin", "ops", {
			order("insert", 0, "document", { x = 1 }),
			order("update", 1, "filter", { x = 1 }, "updateMods", { y = 1 }, "multi", false, "upsert", true),
			order("delete", 0, "filter", { x = 1 }, "multi", false, "hint", "x_1"),
		}, "nsInfo", { { ns = "game.a" }, { ns = "game.b" } }, "ordered", false,
			"bypassDocumentValidation", true, "comment", "why", "errorsOnly", true)
		server.answers.bulkWrite = { ok = 1, nErrors = 2, cursor = { firstBatch = {
			{ ok = 0, idx = 0, errmsg = "one" }, { ok = 1, idx = 1 }, { ok = 0, idx = 2, errmsg = "two" } } } }
		local ok, err, _, failed = client:bulkWrite(ops)
		assert.same({ false, "one;two", { 0, 2 } }, { ok, err, failed })
		raises("replace", client.bulkWrite, client, { { op = "replace", collection = "a.b" } })
	end)
end)

describe("mongo reads", function()
	local function batch(id, name, ...)
		return { ok = 1, cursor = { id = bson.int64(id), ns = "game.player", [name] = list(...) } }
	end

	it("find one", function()
		open { find = batch(0, "firstBatch", { a = 1 }) }
		assert.same({ a = 1 }, coll:findOne({ a = 1 }, { a = true }))
		sent("find", "player", "$db", "game", "filter", { a = 1 }, "limit", 1, "projection", { a = true })
		server.answers.find = batch(0, "firstBatch")
		assert.is_nil(coll:findOne())
		server.answers.find = { ok = 0, errmsg = "bad query" }
		raises("bad query", coll.findOne, coll)
		server.answers.find = { ok = 0 }
		raises("Reply from mongod error", coll.findOne, coll)
	end)

	it("find many, batch by batch", function()
		local more = { batch(77, "nextBatch", 3), batch(0, "nextBatch", 4) }
		open { find = batch(77, "firstBatch", 1, 2), getMore = function() return table.remove(more, 1) end }
		local c = coll:find({ a = 1 }, { b = 1 }):sort({ a = 1 }, { b = -1 }):skip(1):hint("a_1")
			:maxTimeMS(500):batchSize(2)
		assert.equal(1, #server.log)
		raises("Call\thasNext\tfirst", c.next, c)
		local got = {}
		while c:hasNext() do
			got[#got + 1] = c:next()
		end
		assert.same({ 1, 2, 3, 4 }, got)
		assert.equal(hex(order("find", "player", "$db", "game", "filter", { a = 1 }, "sort", order("a", 1, "b", -1),
			"projection", { b = 1 }, "skip", 1, "hint", "a_1", "maxTimeMS", 500, "batchSize", 2)),
			hex(server:requests("find")[1].raw))
		sent("getMore", bson.int64(77), "$db", "game", "collection", "player", "batchSize", 2)
		raises("Call\thasNext\tfirst", c.next, c)
		assert.is_false(c:hasNext())
	end)

	it("end a cursor at its limit, or when it's closed", function()
		open { find = batch(77, "firstBatch", 1, 2), killCursors = { ok = 1 } }
		local c = coll:find():limit(2)
		assert.is_true(c:hasNext())
		sent("find", "player", "$db", "game", "filter", {}, "sort", {}, "projection", {}, "limit", 2)
		c:next()
		c:next()
		assert.is_false(c:hasNext())
		eventually(function() return server.last.name == "killCursors" end)
		assert.same({ 77 }, server.last.doc.cursors)
		c = coll:find()
		c:hasNext()
		c:close()
		eventually(function() return #server:requests "killCursors" == 2 end)
		assert.equal(1, c:hasNext() and c:next())
		assert.equal(2, c:hasNext() and c:next())
		assert.is_false(c:hasNext())
		c:close()
	end)

	it("raise what the server says", function()
		open { find = { ok = 0, errmsg = "bad sort" }, count = { ok = 0, errmsg = "no count" } }
		local c = coll:find()
		raises("bad sort", c.hasNext, c)
		raises("no count", c.count, c)
		server.answers.find = { ok = 1 }
		raises("the reply has no cursor", c.hasNext, c)
		server.answers.find = { ok = 1, cursor = { id = 1, firstBatch = "x" } }
		raises("the reply has no firstBatch", c.hasNext, c)
	end)

	it("count", function()
		open { count = { ok = 1, n = 7.0 } }
		local c = coll:find({ a = 1 }):skip(2):limit(3)
		assert.equal("integer", math.type(c:count()))
		sent("count", "player", "$db", "game", "query", { a = 1 })
		c:count(true)
		sent("count", "player", "$db", "game", "query", { a = 1 }, "skip", 2, "limit", 3)
	end)

	it("aggregate", function()
		open { aggregate = batch(77, "firstBatch", { n = 1 }), getMore = batch(0, "nextBatch", { n = 2 }) }
		local pipeline = { { ["$match"] = { a = 1 } } }
		local c = coll:aggregate(pipeline):sort { a = 1 }:skip(1):limit(5)
		assert.is_true(c:hasNext())
		sent("aggregate", "player", "$db", "game", "pipeline", { { ["$match"] = { a = 1 } },
			{ ["$sort"] = { a = 1 } }, { ["$skip"] = 1 }, { ["$limit"] = 5 } }, "cursor", {})
		c:next()
		assert.is_true(c:hasNext())
		assert.same({ n = 2 }, c:next())
		assert.equal(1, #pipeline)
		coll:aggregate({}, { allowDiskUse = true }):hasNext()
		sent("aggregate", "player", "$db", "game", "pipeline", list(), "allowDiskUse", true, "cursor", {})
		c = coll:aggregate({}, { cursor = { batchSize = 3 } })
		c:hasNext()
		c:next()
		c:hasNext()
		sent("getMore", bson.int64(77), "$db", "game", "collection", "player", "batchSize", 3)
		server.answers.aggregate = batch(0, "firstBatch", { __count = 9 })
		assert.equal(9, coll:aggregate(pipeline):skip(1):count())
		sent("aggregate", "player", "$db", "game", "pipeline",
			{ { ["$match"] = { a = 1 } }, { ["$count"] = "__count" } }, "cursor", {})
		coll:aggregate(pipeline):skip(1):count(true)
		assert.equal(3, #server.last.doc.pipeline)
		server.answers.aggregate = batch(0, "firstBatch")
		assert.equal(0, coll:aggregate(pipeline):count())
	end)
end)

describe("mongo replica sets", function()
	it("go to the primary, and to the next one when it's lost", function()
		local first, second = peer.start(), peer.start()
		local function hosts(primary)
			return { ok = 1, ismaster = false, secondary = true, me = "me", hosts = {
				"127.0.0.1:" .. first.port, "127.0.0.1:" .. second.port },
				primary = primary and "127.0.0.1:" .. primary.port }
		end
		local master = hosts(second)
		master.ismaster = true
		first.answers.ismaster, second.answers.ismaster = hosts(second), master
		first.answers.ping, second.answers.ping = { ok = 1, me = 1 }, { ok = 1, me = 2 }
		client = mongo.client { rs = { { host = "127.0.0.1", port = first.port } } }
		assert.equal(2, client:runCommand("ping").me)
		assert.equal(second.port, client.port)
		first.answers.ismaster = master
		second:stop()
		eventually(function()
			local ok, reply = pcall(client.runCommand, client, "ping")
			return ok and reply.me == 1
		end)
		first:stop()
	end)

	it("refuse a member that knows no primary", function()
		server = peer.start { ismaster = { ok = 1, ismaster = false, me = "a:1" } }
		raises("No primary return : a:1", mongo.client, { rs = { { host = "127.0.0.1", port = server.port } } })
	end)

	it("ask hello when ismaster is gone", function()
		open { ismaster = { ok = 0, errmsg = "no such command" }, hello = { ok = 1, isWritablePrimary = true } }
		assert.equal("hello", server.last.name)
	end)

	it("take the credentials from either place", function()
		server = peer.start { getnonce = { ok = 1, nonce = "abc" }, authenticate = { ok = 1 } }
		client = mongo.client { username = "u", password = "p", authmod = "mongodb_cr",
			rs = { { host = "127.0.0.1", port = server.port } } }
		assert.equal(1, #server:requests "authenticate")
	end)
end)

describe("mongo connections", function()
	it("fail at once when there's no server", function()
		local p = peer.start()
		local port = p.port
		p:stop()
		raises("[Error: socket]", mongo.client, { host = "127.0.0.1", port = port })
	end)

	it("fail every pending call when they're lost, and come back", function()
		open { ping = function() end, pong = { ok = 1 } }
		local failed = 0
		for _ = 1, 20 do
			skynet.fork(function()
				if not pcall(db.runCommand, db, "ping") then
					failed = failed + 1
				end
			end)
		end
		eventually(function() return #server:requests "ping" == 20 end)
		server:drop()
		eventually(function() return failed == 20 end)
		assert.equal(1, db:runCommand("pong").ok)
		assert.equal(2, #server:requests "ismaster")
	end)

	it("give up a call that's late, and drop a silent server", function()
		open({ ping = function() end, pong = { ok = 1 } }, { timeout = 50 })
		raises(("mongo: no answer from 127.0.0.1:%d within 0.5 s"):format(server.port), db.runCommand, db, "ping")
		assert.equal(1, db:runCommand("pong").ok)
		assert.equal(2, #server:requests "ismaster")
	end)

	it("let a command take the time it asks for", function()
		open({ slow = function() skynet.sleep(200) return { ok = 1 } end }, { timeout = 50 })
		raises("no answer", db.runCommand, db, "slow")
		assert.equal(1, db:runCommand("slow", 1, "maxTimeMS", 60000).ok)
	end)

	it("don't wait for ever for a server that accepts and says nothing", function()
		server = peer.start { ismaster = function() end }
		raises("no answer", mongo.client, { host = "127.0.0.1", port = server.port, timeout = 50 })
	end)

	it("bound what a hostile server sends", function()
		open { big = function() return string.pack("<i4", 0x7fffffff) .. "xxxx" end,
			negative = function() return string.pack("<i4", -5) end,
			short = function() return string.pack("<i4i4i4i4", 16, 1, 1, 2013) end, pong = { ok = 1 } }
		for _, name in ipairs { "big", "negative", "short" } do
			raises("mongo: a reply of", db.runCommand, db, name)
		end
		assert.equal(1, db:runCommand("pong").ok)
	end)

	it("blame a malformed document on its own call only", function()
		local waiting = 0
		open { wait = function()
			waiting = waiting + 1
			eventually(function() return waiting < 0 end)
		end, bad = function(_, r)
			return peer.message(1, r.id, "\5\0\0\0\1")
		end, opcode = function(_, r)
			return peer.message(1, r.id, bson.encode { ok = 1 }, 0, 1)
		end }
		server.answers.wait = function(_, r)
			waiting = r.id
		end
		local answer
		skynet.fork(function()
			answer = db:runCommand "wait"
		end)
		eventually(function() return waiting ~= 0 end)
		raises("Invalid document end", db.runCommand, db, "bad")
		raises("Unsupported opcode:1", db.runCommand, db, "opcode")
		server.answers.late = function()
			return peer.message(1, waiting, bson.encode { ok = 1, late = true })
		end
		db:send_command("late", 1)
		eventually(function() return answer end)
		assert.is_true(answer.late)
	end)
end)

describe("mongo transactions", function()
	local session = { id = bson.binary "0123456789abcdef" }

	before_each(function()
		mongo.enable "transaction"
		mongo.enable "transaction"
		open { startSession = { ok = 1, id = session }, endSessions = { ok = 1 }, commitTransaction = { ok = 1 },
			abortTransaction = { ok = 1 }, insert = { ok = 1, n = 1 }, update = { ok = 1 } }
	end)

	it("mark the commands of their coroutine and commit", function()
		assert.is_nil(db:run_transaction(function()
			coll:safe_insert { a = 1 }
			coll:update({ a = 1 }, { a = 2 })
			local done
			skynet.fork(function()
				coll:safe_insert { other = true }
				done = true
			end)
			eventually(function() return done end)
		end))
		local inserts = server:requests "insert"
		local number = inserts[1].doc.txnNumber
		assert.equal(hex(order("insert", "player", "$db", "game", "documents", { { a = 1 } }, "lsid", session,
			"txnNumber", bson.int64(number), "autocommit", false, "startTransaction", true)), hex(inserts[1].raw))
		assert.is_nil(inserts[2].doc.lsid)
		local update = server:requests("update")[1].doc
		assert.same({ session, number, false }, { update.lsid, update.txnNumber, update.autocommit })
		assert.is_nil(update.startTransaction)
		assert.is_nil(update.writeConcern)
		local commit = server:requests("commitTransaction")[1]
		assert.equal(hex(order("commitTransaction", 1, "$db", "admin", "lsid", session, "txnNumber",
			bson.int64(number), "autocommit", false)), hex(commit.raw))
		sent("endSessions", { session }, "$db", "admin")
	end)

	it("abort when the function raises", function()
		local err = db:run_transaction(function()
			coll:safe_insert { a = 1 }
			error "changed my mind"
		end)
		assert.truthy(err:find "changed my mind")
		assert.truthy(err:find "traceback")
		assert.equal(1, #server:requests "abortTransaction")
		assert.equal(0, #server:requests "commitTransaction")
		coll:safe_insert { a = 2 }
		assert.is_nil(server.last.doc.lsid)
	end)

	it("return the server's message", function()
		server.answers.commitTransaction = { ok = 0, errmsg = "write conflict" }
		local function insert()
			coll:safe_insert { a = 1 }
		end
		assert.equal("write conflict", db:run_transaction(insert))
		server.answers.startSession = { ok = 0, errmsg = "no sessions" }
		assert.truthy(db:run_transaction(insert):find "no sessions")
		raises("only \"transaction\"", mongo.enable, "magic")
	end)
end)
