-- TLS to database servers: real ones, with certificates of the spec's own.

require "ltls.init.c".constructor()
local certs = require "certs"
local mysql = require "skynet.db.mysql"
local packet = require "skynet.db.mysql.packet"
local redis = require "skynet.db.redis"
local servers = require "servers"
local skynet = require "skynet"
local socket = require "skynet.socket"
local tlshelper = require "http.tlshelper"

local dir = certs.make(servers.folder "certs", "localhost", "other")
local trusting = { cafile = dir .. "/ca.pem" }

teardown(servers.stop_all)

describe("redis over TLS", function()
	local server
	local function conf(tls)
		return { host = "127.0.0.1", port = server.port, tls = tls, timeout = 3000 }
	end

	setup(function()
		server = servers.redis({ ["tls-auth-clients"] = "no" }, dir)
	end)

	it("talks to a server whose certificate is trusted", function()
		local db = redis.connect(conf(trusting))
		local big = ("x"):rep(1000000)
		db:set("k", big)
		assert.equal(big, db:get "k")
		local left = 50
		for i = 1, 50 do
			skynet.fork(function()
				db:set("k" .. i, i)
				assert(db:get("k" .. i) == tostring(i))
				left = left - 1
			end)
		end
		local results = db:pipeline({ { "get", "none" }, { "strlen", "k" } }, {})
		assert.equal(1000000, results[2].out)
		for _ = 1, 3000 do
			if left > 0 then skynet.sleep(1) end
		end
		assert.equal(0, left)
		db:disconnect()
	end)

	it("subscribes, and connects again", function()
		local db = redis.connect(conf(trusting))
		local w = redis.watch(conf(trusting))
		w:subscribe "c"
		local function publish(text)
			for _ = 1, 3000 do
				if db:publish("c", text) == 1 then return end
				skynet.sleep(1)
			end
		end
		publish "one"
		assert.same({ "one", "c" }, { w:message() })
		local failed
		skynet.fork(function()
			failed = not pcall(w.message, w)
		end)
		skynet.sleep(2)
		db:client("kill", "type", "pubsub")
		for _ = 1, 3000 do
			if not failed then skynet.sleep(1) end
		end
		local got
		skynet.fork(function()
			got = { w:message() }
		end)
		publish "two"
		for _ = 1, 3000 do
			if not got then skynet.sleep(1) end
		end
		assert.same({ "two", "c" }, got)
		w:disconnect()
		db:disconnect()
	end)

	it("refuses a certificate that isn't trusted, or somebody else's", function()
		local ok, err = pcall(redis.connect, conf(true))
		assert.is_false(ok)
		assert.truthy(tostring(err):find "certificate", tostring(err))
		ok, err = pcall(redis.connect, conf { cafile = dir .. "/ca.pem", hostname = "other" })
		assert.is_false(ok)
		assert.truthy(tostring(err):find "ertificate", tostring(err))
		local db = redis.connect(conf { verify = false })
		assert.equal("PONG", db:ping())
		db:disconnect()
	end)

	it("shows a certificate of its own", function()
		server:stop()
		server = servers.redis({ ["tls-auth-clients"] = "yes" }, dir)
		assert.is_false(pcall(function()
			redis.connect(conf(trusting)):ping()
		end))
		local db = redis.connect(conf { cafile = dir .. "/ca.pem", certfile = dir .. "/other.pem",
			keyfile = dir .. "/other.key" })
		assert.equal("PONG", db:ping())
		db:disconnect()
	end)
end)

describe("mysql over TLS", function()
	local server
	local function connect(tls)
		return mysql.connect { host = "127.0.0.1", port = server.port, user = "secured",
			password = "secret", tls = tls, timeout = 3000 }
	end

	setup(function()
		server = servers.mariadb({ ["ssl-cert"] = dir .. "/localhost.pem",
			["ssl-key"] = dir .. "/localhost.key", ["ssl-ca"] = dir .. "/ca.pem" }, [[
CREATE USER 'secured'@'%' IDENTIFIED BY 'secret' REQUIRE SSL;
DELETE FROM mysql.global_priv WHERE User = '';
FLUSH PRIVILEGES;
]])
	end)

	it("talks to a server whose certificate is trusted", function()
		local db = connect(trusting)
		assert.truthy(db:query("SHOW STATUS LIKE 'Ssl_cipher'")[1].Value:find "%u+")
		local big = ("x"):rep(1000000)
		assert.equal(big, db:query("SELECT '" .. big .. "' AS s")[1].s)
		local stmt = db:prepare "SELECT ? AS s"
		assert.same({ { s = "y" } }, db:execute(stmt, "y"))
		db:disconnect()
	end)

	it("refuses a certificate that isn't trusted, and no TLS where it's needed", function()
		local ok, err = pcall(connect, true)
		assert.is_false(ok)
		assert.truthy(tostring(err):find "certificate", tostring(err))
		ok, err = pcall(connect, nil)
		assert.is_false(ok)
		assert.truthy(tostring(err):find "errno:1045", tostring(err))
	end)

	it("sends the password as it is, inside of TLS, when the server must have it", function()
		local got
		local id, _, port = socket.listen("127.0.0.1", 0)
		socket.start(id, function(client)
			skynet.fork(function()
				socket.start(client)
				local sock = { client }
				packet.begin(sock, 0)
				packet.write(sock, "\10" .. string.pack("<zI4c8xI2BI2I2Bc10c12xz", "8.0.36", 7, "abcdefgh",
					0xffff, 45, 2, 0x81ff, 21, ("\0"):rep(10), "ijklmnopqrst", "caching_sha2_password"))
				assert(#socket.read(client, 36) == 36) -- no more: TLS begins after it
				sock.sequence = 2
				local tls = tlshelper.newtls("server", tlshelper.server_context(dir .. "/localhost.pem",
					dir .. "/localhost.key"))
				tlshelper.init_responsefunc(client, tls)()
				local write = tlshelper.writefunc(client, tls)
				sock.fill = tlshelper.readfunc(client, tls)
				sock.write = function(_, data)
					write(data)
					return true
				end
				packet.read(sock)
				packet.write(sock, "\1\4")
				got = packet.read(sock)
				packet.write(sock, "\0\0\0\2\0\0\0")
				socket.read(client, 1)
				socket.close(client)
			end)
		end)
		mysql.connect({ host = "127.0.0.1", port = port, user = "u", password = "secret",
			tls = trusting, timeout = 3000 }):disconnect()
		assert.equal("secret\0", got)
		socket.close(id)
	end)

	it("refuses a server without TLS", function()
		server:stop()
		server = servers.mariadb { ["skip-ssl"] = "1" }
		local ok, err = pcall(connect, trusting)
		assert.is_false(ok)
		assert.truthy(tostring(err):find "the server has no TLS", tostring(err))
	end)
end)
