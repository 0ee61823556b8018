-- The redis cluster client against a cluster of six nodes.

local cluster = require "skynet.db.redis.cluster"
local crc16 = require "skynet.db.redis.crc16"
local eventually = require "eventually"
local keys = require "skynet.db.redis.keys"
local redis = require "skynet.db.redis"
local servers = require "servers"
local skynet = require "skynet"

describe("slots of keys", function()
	it("are the CRC-16 of the key or its tag", function()
		assert.equal(0x31c3, crc16 "123456789")
		for key, slot in pairs {
			foo = 12182, bar = 5061, ["{foo}hello"] = 12182, ["foo{}{bar}"] = 8363,
			["foo{{bar}}zap"] = 4015, ["foo{bar}{zap}"] = 5061, ["{}foo"] = 9500, [""] = 0,
		} do
			assert.equal(slot, keys.slot(key))
		end
	end)

	local function key(command, ...)
		return keys.of(command, table.pack(...))
	end

	it("are found for each command", function()
		assert.equal("k", key("get", "k"))
		assert.equal("k", key("EVAL", "return 1", 1, "k", "arg"))
		assert.is_nil(key("eval", "return 1", 0))
		assert.is_nil(key "info")
		assert.equal("s", key("xread", "COUNT", 1, "STREAMS", "s", "0"))
		assert.equal("d", key("bitop", "and", "d", "a", "b"))
		assert.equal("k", key("migrate", "h", 1, "", 0, 10, "KEYS", "k"))
		assert.equal("z", key("zinter", 2, "z", "y"))
		assert.equal("o", key("object", "encoding", "o"))
		local ok, err = pcall(key, "eval", "x", 2, "foo", "bar")
		assert.is_false(ok)
		assert.truthy(err:find "eval %- all keys must map to the same key slot")
	end)
end)

describe("redis.cluster", function()
	local nodes, db

	setup(function()
		nodes = servers.redis_cluster(3, 1000)
		db = cluster.new({ { host = "127.0.0.1", port = nodes[1].port } }, { timeout = 1000 })
	end)
	teardown(function()
		db:close_all_connection()
		servers.stop_all()
	end)

	it("knows who has which slot", function()
		assert.equal(12182, db:keyslot "foo")
		local node = db.slots[12182]
		assert.equal("127.0.0.1", node.host)
		assert.equal(nodes[3].port, node.port)
		assert.equal("127.0.0.1:" .. nodes[3].port, node.name)
		eventually(function()
			db:flush_slots_cache()
			db:initialize_slots_cache()
			return #db.nodes == 6 and #db.slots[12182].slaves == 1
		end)
		assert.equal(nodes[6].port, db.slots[12182].slaves[1].port)
	end)

	it("sends commands to their nodes", function()
		for i = 1, 100 do
			assert.equal("OK", db:set("key" .. i, i))
		end
		for i = 1, 100 do
			assert.equal(tostring(i), db:get("key" .. i))
		end
		assert.is_true(db:exists "key1")
		assert.equal(2, db:del { "{t}1", "{t}2", n = 2 } + db:sadd("s", "a", "b"))
		assert.equal("7", db:eval("return ARGV[1]", 1, "foo", 7))
		local sum = 0
		for i = 1, 3 do
			sum = sum + db:get_connection { host = "127.0.0.1", port = nodes[i].port }:dbsize()
		end
		assert.equal(101, sum)
	end)

	it("raises what a node refuses, and what can't be sent anywhere", function()
		db:set("text", "x")
		local ok, err = pcall(function() db:lpush("text", 1) end)
		assert.is_false(ok)
		assert.truthy(err:find "redis_cluster_spec.lua:%d+: WRONGTYPE")
		for _, command in ipairs { "info", "multi", "config", "dbsize" } do
			ok, err = pcall(db[command], db)
			assert.is_false(ok)
			assert.truthy(err:find("No way to dispatch this command to Redis Cluster: " .. command,
				1, true))
		end
		ok, err = pcall(db.mget, db, "foo", "bar")
		assert.is_false(ok)
		assert.truthy(err:find "CROSSSLOT")
	end)

	it("follows MOVED", function()
		db:set("foo", "moved")
		db.slots[12182] = db:set_node_name { host = "127.0.0.1", port = nodes[1].port }
		assert.equal("moved", db:get "foo")
		assert.equal("moved", db:get "foo")
		assert.equal(nodes[3].port, db.slots[12182].port)
	end)

	it("follows ASK while a slot is on its way", function()
		local slot = db:keyslot "asked"
		local from = db:get_connection(db.slots[slot])
		local other = db.slots[slot].port == nodes[1].port and nodes[2] or nodes[1]
		local to = db:get_connection { host = "127.0.0.1", port = other.port }
		to:cluster("setslot", slot, "importing", from:cluster "myid")
		from:cluster("setslot", slot, "migrating", to:cluster "myid")
		assert.equal("OK", db:set("asked", "there"))
		assert.equal("there", db:get "asked")
		assert.equal(1, to:pipeline({ { "ASKING" }, { "del", "asked" } }))
		for _, link in ipairs { from, to } do
			link:cluster("setslot", slot, "stable")
		end
	end)

	it("reads from replicas when it may", function()
		local reader
		eventually(function() -- until the replicas are known
			reader = cluster.new({ host = "127.0.0.1", port = nodes[2].port },
				{ read_slave = true, timeout = 1000 })
			assert.equal("OK", reader:set("foo", "replicated"))
			if reader.writes.set then
				return true
			end
			reader:close_all_connection()
		end)
		eventually(function() return reader:get "foo" == "replicated" end)
		local replica = reader.connections["127.0.0.1:" .. nodes[6].port]
		assert.truthy(replica:info "commandstats":find "cmdstat_get")
		reader:close_all_connection()
	end)

	it("keeps no more connections than allowed", function()
		local few = cluster.new({ host = "127.0.0.1", port = nodes[2].port },
			{ max_connections = 2, timeout = 1000 })
		for i = 1, 20 do
			few:set("few" .. i, i)
		end
		local n = 0
		for _ in pairs(few.connections) do
			n = n + 1
		end
		assert.equal(2, n)
		few:close_all_connection()
	end)

	it("serves many coroutines", function()
		local left = 100
		for i = 1, 100 do
			skynet.fork(function()
				db:set("c" .. i, i)
				assert(db:get("c" .. i) == tostring(i))
				left = left - 1
			end)
		end
		eventually(function() return left == 0 end)
	end)

	it("raises when no node can be reached", function()
		local none = cluster.new({ host = "127.0.0.1", port = servers.free_port() })
		local ok, err = pcall(none.get, none, "x")
		assert.is_false(ok)
		assert.truthy(err:find("Can't reach a single startup node.", 1, true))
	end)

	it("survives the loss of a master, with its data and subscriptions", function()
		local got = {}
		local watcher = cluster.new({ host = "127.0.0.1", port = nodes[2].port },
			{ timeout = 1000 }, function(data, channel, pattern)
				got[#got + 1] = { data, channel, pattern }
			end)
		watcher:subscribe "bar"      -- slot 5061: the first master
		watcher:psubscribe "b*"
		assert.truthy(watcher.watches["127.0.0.1:" .. nodes[1].port])
		eventually(function()
			db:publish("bar", "before")
			return #got >= 2
		end)
		db:set("bar", "precious")
		local to = redis.connect { host = "127.0.0.1", port = nodes[4].port }
		eventually(function() return to:info "replication":find "slave_repl_offset:[1-9]" end)
		eventually(function()
			to:readonly()
			return to:get "bar" == "precious"
		end)
		to:disconnect()
		nodes[1]:kill()
		local value = eventually(function()
			local ok, reply = pcall(db.get, db, "bar")
			return ok and reply
		end)
		assert.equal("precious", value)
		assert.equal("OK", db:set("bar", "after"))
		assert.equal(nodes[4].port, db.slots[5061].port)
		got = {}
		eventually(function()
			db:publish("bar", "after")
			return #got >= 2
		end)
		assert.equal("after", got[1][1])
		watcher:unsubscribe "bar"
		watcher:close_all_connection()
	end)

	it("says so when the cluster doesn't get into order", function()
		nodes[4]:kill() -- the slots' last owner
		local alone = cluster.new({ { host = "127.0.0.1", port = nodes[2].port } })
		local ok, err = pcall(alone.get, alone, "bar")
		assert.is_false(ok)
		assert.truthy(err:find("Too many Cluster redirections?,maybe node is disconnected " ..
			'(last error: "', 1, true))
		alone:close_all_connection()
	end)
end)
