-- The redis driver against a real server, and against a peer that breaks the protocol.

local eventually = require "eventually"
local kit = require "testkit"
local redis = require "skynet.db.redis"
local servers = require "servers"
local skynet = require "skynet"
local socket = require "skynet.socket"
local socketchannel = require "skynet.socketchannel"

-- A peer that answers each connection by serve(id); returns its port.
local listeners = {}
local function peer(serve)
	local id, _, port = socket.listen("127.0.0.1", 0)
	listeners[#listeners + 1] = id
	socket.start(id, function(client)
		skynet.fork(function()
			socket.start(client)
			pcall(serve, client)
			socket.close(client)
		end)
	end)
	return port
end

local server
local function connect(conf)
	conf = conf or {}
	conf.host, conf.port = "127.0.0.1", conf.port or server.port
	return redis.connect(conf)
end

local function teardown_all()
	for _, id in ipairs(listeners) do
		socket.close(id)
	end
	listeners = {}
	servers.stop_all()
end

describe("redis commands", function()
	local db
	setup(function()
		server = servers.redis()
		db = connect()
	end)
	teardown(teardown_all)
	before_each(function()
		db:flushall()
	end)

	it("map replies to Lua values", function()
		assert.equal("PONG", db:ping())
		assert.equal("OK", db:set("A", "hello"))
		assert.equal("hello", db:get "A")
		assert.is_nil(db:get "nothing")
		assert.equal(2, db:rpush("list", "a", "b"))
		assert.same({ "a", "b" }, db:lrange("list", 0, -1))
		assert.same({ "hello", nil, "hello" }, db:mget("A", "nothing", "A"))
		assert.same({}, db:lrange("none", 0, -1))
		assert.is_nil(db:blpop("none", "0.01"))
		assert.same({ { "a", "b" }, 1, "x" },
			db:eval("return {redis.call('lrange','list',0,-1), 1, 'x'}", 0))
		assert.equal(math.mininteger, db:incrby("n", math.mininteger))
	end)

	it("take arguments of any type, a table of them, or none", function()
		db:set("f", 2.0)
		assert.equal("2.0", db:get "f")
		db:set("b", true)
		assert.equal("true", db:get { "b" })
		assert.equal("OK", db:mset { "x", 1, "y", 2 })
		assert.same({ "1", "2" }, db:mget { "x", "y", "ignored", n = 2 })
		assert.equal("PONG", db:ping(nil, "ignored"))
		assert.equal("", db:echo "")
		local all = {}
		for i = 0, 255 do
			all[#all + 1] = string.char(i)
		end
		all = table.concat(all)
		db:set(all, all)
		assert.equal(all, db:get(all))
	end)

	it("send the bytes of the protocol", function()
		local got
		local port = peer(function(id)
			got = ""
			while true do
				local bytes = assert(socket.read(id))
				got = got .. bytes
				socket.write(id, "+OK\r\n")
			end
		end)
		local c = connect { port = port }
		c:set("A", "hello")
		assert.equal("*3\r\n$3\r\nSET\r\n$1\r\nA\r\n$5\r\nhello\r\n", got)
		got = ""
		c:ping()
		assert.equal("*1\r\n$4\r\nPING\r\n", got)
		c:disconnect()
		assert.is_nil(c.get)
	end)

	it("raise what the server refuses, at the caller's line", function()
		db:set("A", "x")
		local ok, err = pcall(function()
			db:lpush("A", 1)
		end)
		assert.is_false(ok)
		assert.truthy(err:find "redis_spec.lua:%d+: WRONGTYPE Operation")
		ok, err = pcall(db.set, db, "A", nil, "x")
		assert.is_false(ok)
		assert.equal("redis: argument 2 of SET is nil", err)
		assert.equal("x", db:get "A")
	end)

	it("make booleans of exists and sismember", function()
		db:mset("a", 1, "b", 2)
		db:sadd("s", "m")
		assert.is_true(db:exists "a")
		assert.is_true(db:exists { "a", "b" })
		assert.is_false(db:exists "c")
		assert.is_true(db:sismember("s", "m"))
		assert.is_false(db:sismember("s", "n"))
	end)

	it("carry values of megabytes", function()
		local big = ("0123456789abcdef"):rep(512 * 1024)
		db:set("big", big)
		assert.equal(big, db:get "big")
		assert.equal("x", db:echo "x")
	end)

	it("of many coroutines interleave", function()
		local left = 200
		for i = 1, 200 do
			skynet.fork(function()
				local value = ("v"):rep(i)
				db:set("k" .. i, value)
				assert(db:get("k" .. i) == value)
				left = left - 1
			end)
		end
		eventually(function() return left == 0 end)
	end)

	it("go through transactions", function()
		assert.equal("OK", db:multi())
		assert.equal("QUEUED", db:set("t", 1))
		assert.equal("QUEUED", db:incr "t")
		assert.same({ "OK", 2 }, db:exec())
		db:watch "t"
		local other = connect()
		other:set("t", 5)
		db:multi()
		db:set("t", 6)
		assert.is_nil(db:exec())
		assert.equal("5", db:get "t")
		other:disconnect()
	end)

	it("raise a table for errors inside of arrays", function()
		db:set("s", "text")
		db:multi()
		db:incr "s"
		db:set("s2", "v")
		local ok, err = pcall(db.exec, db)
		assert.is_false(ok)
		assert.truthy(err[1]:find "^ERR value is not an integer")
		assert.equal("OK", err[2])
	end)
end)

describe("redis pipelines", function()
	local db
	setup(function()
		server = servers.redis()
		db = connect()
	end)
	teardown(teardown_all)

	it("fill a table of results", function()
		local list = {}
		local results = db:pipeline({ { "set", "p", 1 }, { "hget", "p", "f" }, { "incr", "p" },
			{ "get", "none" }, { "SADD", "ps", "m" }, { "sismember", "ps", "m" } }, list)
		assert.equal(list, results)
		assert.same({ ok = true, out = "OK" }, results[1])
		assert.is_false(results[2].ok)
		assert.truthy(results[2].out:find "^WRONGTYPE")
		assert.same({ ok = true, out = 2 }, results[3])
		assert.same({ ok = true }, results[4])
		assert.same({ ok = true, out = 1 }, results[6])
	end)

	it("return or raise only the last reply without one", function()
		assert.equal("2", db:pipeline { { "lpush", "p", 1 }, { "set", "q", 2 }, { "get", "q" } })
		assert.is_false(pcall(db.pipeline, db, { { "set", "q", 2 }, { "lpush", "q", 2 } }))
		local ok, err = pcall(db.pipeline, db, {})
		assert.is_false(ok)
		assert.truthy(err:find "pipeline is null")
		assert.equal("2", db:get "q")
	end)

	it("of thousands of commands work", function()
		local ops = {}
		for i = 1, 5000 do
			ops[i] = { "set", "k" .. i, i }
		end
		local results = db:pipeline(ops, {})
		assert.equal(5000, #results)
		assert.equal("5000", db:get "k5000")
	end)
end)

describe("a redis connection", function()
	setup(function()
		server = servers.redis { requirepass = "secret" }
	end)
	teardown(teardown_all)

	it("logs in with a password, an ACL user, and selects a database", function()
		local db = connect { auth = "secret", db = 3 }
		db:set("here", "3")
		assert.equal("OK", db:acl("setuser", "bob", "on", ">pw", "~*", "+@all"))
		local bob = connect { auth = "pw", username = "bob", db = 3 }
		assert.equal("3", bob:get "here")
		assert.equal("bob", bob:acl "whoami")
		bob:disconnect()
		db:disconnect()
	end)

	it("says why it was refused", function()
		local ok, err = pcall(connect, { auth = "wrong" })
		assert.is_false(ok)
		assert.truthy(err:find "WRONGPASS")
		ok, err = pcall(connect, { auth = "secret", db = 99 })
		assert.is_false(ok)
		assert.truthy(err:find "DB index is out of range")
		local db = connect() -- that's fine until a command is sent
		ok, err = pcall(db.get, db, "x")
		assert.is_false(ok)
		assert.truthy(err:find "NOAUTH")
		db:disconnect()
	end)

	it("fails what's pending when the server dies, and comes back", function()
		local db = connect { auth = "secret" }
		local failed = 0
		for _ = 1, 5 do
			skynet.fork(function()
				local ok, err = pcall(db.blpop, db, "none", 0)
				if not ok and (err == socketchannel.error or err == "channel_closed") then
					failed = failed + 1
				end
			end)
		end
		skynet.sleep(5)
		server:kill()
		eventually(function() return failed == 5 end)
		local ok, err = pcall(db.get, db, "x")
		assert.is_false(ok)
		assert.equal(socketchannel.error, err)
		server:restart()
		assert.is_nil(db:get "x")
		db:disconnect()
	end)

	it("raises when nobody listens", function()
		local ok, err = pcall(connect, { port = servers.free_port() })
		assert.is_false(ok)
		assert.equal(socketchannel.error, err)
	end)

	it("limits the time of commands", function()
		local db = connect { auth = "secret", timeout = 500 }
		local hasty = db:with_timeout(5)
		assert.equal("PONG", hasty:ping())
		server:freeze(true)
		local ok, err = pcall(hasty.get, hasty, "x")
		assert.is_false(ok)
		assert.truthy(err:find "no answer from 127.0.0.1:%d+ in time")
		ok = pcall(hasty.pipeline, hasty, { { "get", "x" } }, {})
		assert.is_false(ok)
		server:freeze(false)
		assert.equal("PONG", db:ping())
		db:disconnect()
	end)
end)

describe("redis version 3 of the protocol", function()
	local db, pushed
	setup(function()
		server = servers.redis { requirepass = "secret" }
		pushed = {}
		db = connect { auth = "secret", protocol = 3, push = function(message)
			pushed[#pushed + 1] = message
		end }
	end)
	teardown(teardown_all)

	it("has maps, sets, doubles, booleans, nulls, big numbers and verbatim strings", function()
		db:hset("h", "a", 1, "b", 2)
		assert.same({ a = "1", b = "2" }, db:hgetall "h")
		db:sadd("s", "m")
		assert.same({ "m" }, db:smembers "s")
		db:zadd("z", 1.5, "m")
		assert.equal(1.5, db:zscore("z", "m"))
		assert.is_nil(db:get "none")
		assert.is_true(db:debug("protocol", "true"))
		assert.is_false(db:debug("protocol", "false"))
		assert.equal("1234567999999999999999999999999999999", db:debug("protocol", "bignum"))
		assert.equal("This is a verbatim\nstring", db:debug("protocol", "verbatim"))
		assert.equal("Some real reply following the attribute", db:debug("protocol", "attrib"))
		assert.same({ [0] = false, true, false }, db:debug("protocol", "map"))
		assert.is_true(db:exists "h")
	end)

	it("delivers pushes, with replies and while idle", function()
		assert.equal("Some real reply following the push reply",
			db:debug("protocol", "push"))
		eventually(function() return #pushed == 1 end)
		assert.equal("server-cpu-usage", pushed[1][1])
		db:client("tracking", "on")
		db:get "tracked"
		local other = connect { auth = "secret" }
		other:set("tracked", 1)
		eventually(function() return #pushed == 2 end)
		assert.same({ "invalidate", { "tracked" } }, pushed[2])
		assert.equal("1", db:get "tracked")
		other:disconnect()
	end)

	it("subscribes", function()
		local w = redis.watch { host = "127.0.0.1", port = server.port, auth = "secret",
			protocol = 3 }
		w:subscribe "c"
		eventually(function() return db:publish("c", "x") == 1 end)
		assert.same({ "x", "c" }, { w:message() })
		w:disconnect()
	end)
end)

describe("redis.watch", function()
	local db
	setup(function()
		server = servers.redis()
		db = connect()
	end)
	teardown(teardown_all)

	local function watch()
		return redis.watch { host = "127.0.0.1", port = server.port }
	end

	local function publish(channel, text, receivers)
		eventually(function() return db:publish(channel, text) == (receivers or 1) end)
	end

	it("receives messages of channels and patterns", function()
		local w = watch()
		w:subscribe("one", "two")
		w:psubscribe "p.*"
		publish("one", "1")
		publish("two", "2")
		publish("p.x", "3")
		assert.same({ "1", "one" }, { w:message() })
		assert.same({ "2", "two" }, { w:message() })
		assert.same({ "3", "p.x", "p.*" }, { w:message() })
		w:unsubscribe "one"
		publish("one", "4", 0)
		w:ping()
		publish("two", "5")
		assert.same({ "5", "two" }, { w:message() })
		w:disconnect()
	end)

	it("waits for a limited time, and loses nothing by that", function()
		local w = watch()
		w:subscribe "c"
		assert.is_nil(w:message(2))
		assert.is_nil(w:message(2))
		publish("c", "x")
		publish("c", "y")
		assert.same({ "x", "c" }, { w:message(1000) })
		assert.same({ "y", "c" }, { w:message() })
		w:disconnect()
	end)

	it("subscribes again after a lost connection", function()
		local w = watch()
		w:subscribe "c"
		w:psubscribe "p*"
		local failure
		skynet.fork(function()
			failure = table.pack(pcall(w.message, w))
		end)
		skynet.sleep(2)
		db:client("kill", "type", "pubsub")
		eventually(function() return failure end)
		assert.is_false(failure[1])
		local got
		skynet.fork(function()
			got = { w:message() }
		end)
		publish("c", "back")
		eventually(function() return got end)
		assert.same({ "back", "c" }, got)
		w:disconnect()
	end)

	it("sees a message that came together with the end of a long one", function()
		local long = ("x"):rep(100000)
		local port = peer(function(id)
			assert(socket.readline(id, "SUBSCRIBE\r\n$1\r\nc\r\n"))
			socket.write(id, "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$100000\r\n" .. long:sub(1, 10))
			skynet.sleep(5)
			socket.write(id, long:sub(11) .. "\r\n*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\ny\r\n")
			socket.read(id, 1)
		end)
		local w = redis.watch { host = "127.0.0.1", port = port }
		w:subscribe "c"
		assert.same({ long, "c" }, { w:message() })
		skynet.sleep(5)
		assert.same({ "y", "c" }, { w:message(1000) })
		w:disconnect()
	end)

	it("raises when it's disconnected, and is closed when it's collected", function()
		local w = watch()
		w:subscribe "c"
		local result
		skynet.fork(function()
			result = table.pack(pcall(w.message, w))
		end)
		skynet.sleep(2)
		w:disconnect()
		eventually(function() return result end)
		assert.is_false(result[1])
		watch():subscribe "gone"
		publish("gone", "x")
		eventually(function()
			collectgarbage()
			return db:publish("gone", "x") == 0
		end)
	end)
end)

describe("a hostile redis server", function()
	teardown(teardown_all)

	-- the text that a command raises when the server answers `bytes`
	local function refused(bytes, conf)
		local port = peer(function(id)
			assert(socket.readline(id, "PING\r\n"))
			socket.write(id, bytes)
			socket.read(id, 1)
		end)
		conf = conf or {}
		conf.port = port
		local db = connect(conf)
		local ok, err = pcall(db.ping, db)
		db:disconnect()
		assert.is_false(ok)
		return err
	end

	it("is refused", function()
		for bytes, why in pairs {
			["hello\r\n"] = "unknown type",
			["\r\n"] = "unknown type",
			[":12x\r\n"] = "bad number",
			[":\r\n"] = "bad number",
			[":1.5\r\n"] = "bad number",
			["$-2\r\n"] = "negative length",
			["$99999999999999\r\n"] = "too big",
			["$9223372036854775807\r\n"] = "too big",
			["*9223372036854775807\r\n"] = "too big",
			["$3\r\nabcde\r\n"] = "no end of a string",
			["#x\r\n"] = "bad boolean",
			[",x\r\n"] = "bad number",
			["(12x\r\n"] = "bad number",
			["%1\r\n_\r\n+x\r\n"] = "a key that is no key",
			["%1\r\n,nan\r\n+x\r\n"] = "a key that is no key",
			[("*1\r\n"):rep(100000)] = "nested deeper",
			[("|0\r\n"):rep(10) .. "?\r\n"] = "unknown type",
			[("x"):rep(70000)] = "a line of more than 65536 bytes",
		} do
			local err = tostring(refused(bytes))
			assert.truthy(err:find(why, 1, true), ("%q gave %s"):format(bytes:sub(1, 40), err))
		end
	end)

	it("can't take more memory than allowed", function()
		assert.truthy(refused("*1000000\r\n" .. (":1\r\n"):rep(5000),
			{ max_reply = 100000 }):find "too big")
		assert.truthy(refused("*3\r\n$60000\r\n" .. ("x"):rep(60000) .. "\r\n$60000\r\n",
			{ max_reply = 100000 }):find "too big")
	end)

	it("that dies within a reply fails its caller", function()
		local port = peer(function(id)
			socket.readline(id, "PING\r\n")
			socket.write(id, "$100\r\nabc")
		end)
		local db = connect { port = port }
		local ok, err = pcall(db.ping, db)
		assert.is_false(ok)
		assert.equal(socketchannel.error, err)
		db:disconnect()
	end)

	it("is understood when its bytes come one by one", function()
		local port = peer(function(id)
			socket.readline(id, "PING\r\n")
			for c in ("*3\r\n$3\r\nabc\r\n+OK\r\n*1\r\n:7\r\n"):gmatch "." do
				socket.write(id, c)
				skynet.sleep(0)
				kit.sleep(0.001)
			end
			socket.read(id, 1)
		end)
		local db = connect { port = port }
		assert.same({ "abc", "OK", { 7 } }, db:ping())
		db:disconnect()
	end)
end)
