-- The mysql driver's login, and its view of hostile servers: the peer is the spec's own.

local mysql = require "skynet.db.mysql"
local packet = require "skynet.db.mysql.packet"
local servers = require "servers"
local skynet = require "skynet"
local socket = require "skynet.socket"

local NONCE = "abcdefghijklmnopqrst"
local OK = "\0\0\0\2\0\0\0"
local folder

local function greeting(plugin, capabilities)
	capabilities = capabilities or 0x81fff7ff
	return "\10" .. string.pack("<zI4c8xI2BI2I2Bc10c12xz", "8.0.36", 7, NONCE:sub(1, 8),
		capabilities & 0xffff, 45, 2, capabilities >> 16, 21, ("\0"):rep(10), NONCE:sub(9), plugin)
end

-- Serve connections by serve(sock); returns the port.
local listeners = {}
local function peer(serve)
	local id, _, port = socket.listen("127.0.0.1", 0)
	listeners[#listeners + 1] = id
	socket.start(id, function(client)
		skynet.fork(function()
			socket.start(client)
			local sock = { client }
			packet.begin(sock, 0)
			local ok, err = pcall(serve, sock)
			if not ok and err then
				skynet.error("peer:", err)
			end
			socket.close(client)
		end)
	end)
	return port
end

-- The client's login packet in parts.
local function read_login(sock)
	local payload = packet.read(sock)
	local capabilities, max, charset, _, pos = string.unpack("<I4I4Bc23", payload)
	local user, response, database, plugin = string.unpack("zs1zz", payload, pos)
	return { capabilities = capabilities, max = max, charset = charset, user = user,
		response = response, database = database, plugin = plugin }
end

local function serve_queries(sock)
	while true do
		packet.begin(sock, 0)
		local payload = packet.read(sock)
		if payload == "\1" then
			return
		end
		packet.write(sock, OK)
	end
end

local function connect(port, options)
	local all = { host = "127.0.0.1", port = port, user = "u", password = "secret", database = "d",
		timeout = 3000 }
	for k, v in pairs(options or {}) do
		all[k] = v
	end
	return mysql.connect(all)
end

local function run(command, input)
	local name = folder .. "/input"
	local f = assert(io.open(name, "wb"))
	f:write(input)
	f:close()
	local p = assert(io.popen(("openssl %s <'%s' 2>/dev/null"):format(command, name)))
	local output = p:read "a"
	p:close()
	return output
end

local function xor(a, b)
	local out = {}
	for i = 1, #a do
		out[i] = string.char(a:byte(i) ~ b:byte((i - 1) % #b + 1))
	end
	return table.concat(out)
end

local function sha256(s)
	return run("dgst -sha256 -binary", s)
end

setup(function()
	folder = servers.folder "login"
end)
teardown(function()
	for _, id in ipairs(listeners) do
		socket.close(id)
	end
end)

describe("mysql: caching_sha2_password", function()
	local key, pem
	setup(function()
		key = folder .. "/key"
		run("genrsa -out " .. key .. " 2048", "")
		pem = run("rsa -in " .. key .. " -pubout", "")
		assert(pem:find "BEGIN PUBLIC KEY")
	end)

	local function unsealed(sealed)
		return xor(run("pkeyutl -decrypt -inkey " .. key .. " -pkeyopt rsa_padding_mode:oaep",
			sealed), NONCE)
	end

	it("is proved by a digest when the server remembers the password", function()
		local seen
		local port = peer(function(sock)
			packet.write(sock, greeting "caching_sha2_password")
			seen = read_login(sock)
			packet.write(sock, "\1\3")
			packet.write(sock, OK)
			serve_queries(sock)
		end)
		local db = connect(port, { charset = "utf8mb4", max_packet_size = 4321 })
		assert.equal("u", seen.user)
		assert.equal("d", seen.database)
		assert.equal(4321, seen.max)
		assert.equal(45, seen.charset)
		assert.equal("caching_sha2_password", seen.plugin)
		assert.equal(0, seen.capabilities & 0x80) -- no local files
		-- the server knows only the digest of the digest
		local known = sha256(sha256 "secret")
		assert.equal(known, sha256(xor(seen.response, sha256(known .. NONCE))))
		assert.equal("8.0.36", db:server_ver())
		assert.equal(2, db:ping().server_status)
		db:disconnect()
	end)

	it("sends the password, sealed with the server's key, when it must", function()
		local got
		local port = peer(function(sock)
			packet.write(sock, greeting "caching_sha2_password")
			read_login(sock)
			packet.write(sock, "\1\4")
			assert(packet.read(sock) == "\2")
			packet.write(sock, "\1" .. pem)
			got = packet.read(sock)
			packet.write(sock, OK)
			serve_queries(sock)
		end)
		connect(port):disconnect()
		assert.equal("secret\0", unsealed(got))
	end)

	it("trusts a key that it knows, and asks for none", function()
		local got
		local port = peer(function(sock)
			packet.write(sock, greeting "caching_sha2_password")
			read_login(sock)
			packet.write(sock, "\1\4")
			got = packet.read(sock)
			packet.write(sock, OK)
			serve_queries(sock)
		end)
		connect(port, { server_public_key = pem }):disconnect()
		assert.equal("secret\0", unsealed(got))
	end)

	it("follows a switch to another plugin", function()
		local got
		local port = peer(function(sock)
			packet.write(sock, greeting "mysql_native_password")
			assert(#read_login(sock).response == 20)
			packet.write(sock, "\xfesha256_password\0" .. NONCE .. "\0")
			assert(packet.read(sock) == "\1")
			packet.write(sock, "\1" .. pem)
			got = packet.read(sock)
			packet.write(sock, OK)
			serve_queries(sock)
		end)
		connect(port):disconnect()
		assert.equal("secret\0", unsealed(got))
	end)

	it("says nothing about an empty password", function()
		local seen
		local port = peer(function(sock)
			packet.write(sock, greeting "caching_sha2_password")
			seen = read_login(sock)
			packet.write(sock, OK)
			serve_queries(sock)
		end)
		connect(port, { password = "" }):disconnect()
		assert.equal("", seen.response)
	end)

	it("refuses a key that is none, or too big", function()
		for _, bad in ipairs { "", "hello", ("x"):rep(20000),
			run("ecparam -genkey -name prime256v1", ""), pem:sub(1, 200) } do
			local port = peer(function(sock)
				packet.write(sock, greeting "caching_sha2_password")
				read_login(sock)
				packet.write(sock, "\1\4")
				packet.read(sock)
				packet.write(sock, "\1" .. bad)
				packet.read(sock)
			end)
			local ok, err = pcall(connect, port)
			assert.is_false(ok)
			assert.truthy(tostring(err):find "public key isn't an RSA key")
		end
	end)
end)

describe("mysql: a server that's hostile", function()
	it("in the login is refused", function()
		local more = {}
		for i = 1, 100 do
			more[i] = "\1\3"
		end
		for why, payloads in pairs {
			["errno:1040, msg:Too many connections,sqlstate:08004"] = {
				"\xff\x10\x04#08004Too many connections" },
			["errno:1130, msg:Host is not allowed,sqlstate:nil"] = { "\xff\x6a\x04Host is not allowed" },
			["a greeting of an unknown version"] = { "\9" },
			["ends too early"] = { "\0108.0\0\1\2\3" },
			["old pre-4.1 authentication protocol not supported"] = { greeting "", "\xfe" },
			["authentication plugin \"dialog\", which isn't supported"] = { greeting "", "\xfedialog\0" },
			["a nonce that is too short"] = { greeting "", "\xfemysql_native_password\0abc\0" },
			["more than its plugin has to say"] = { greeting "", "\1x" },
			["a packet that is no part of a login"] = { greeting "", "\7" },
			["a login without end"] = { greeting "caching_sha2_password", table.unpack(more) },
		} do
			local port = peer(function(sock)
				for i, payload in ipairs(payloads) do
					packet.write(sock, payload)
					if i == 1 and payload:byte() == 10 and #payload > 10 then
						read_login(sock)
					end
				end
				socket.read(sock[1], 1)
			end)
			local ok, err = pcall(connect, port)
			assert.is_false(ok)
			assert.truthy(tostring(err):find(why, 1, true), tostring(err))
		end
	end)

	-- what a query raises when it's answered by these payloads or bytes
	local function refused(answer, options, command)
		local port = peer(function(sock)
			packet.write(sock, greeting "mysql_native_password")
			read_login(sock)
			packet.write(sock, OK)
			packet.begin(sock, 0)
			packet.read(sock)
			if type(answer) == "string" then
				socket.write(sock[1], answer)
			else
				for _, payload in ipairs(answer) do
					packet.write(sock, payload)
				end
			end
			socket.read(sock[1], 1)
		end)
		local db = connect(port, options)
		local ok, err = pcall(db[command or "query"], db, "SELECT 1")
		db:disconnect()
		assert.is_false(ok)
		return type(err) == "table" and err.err or tostring(err)
	end

	local column = "\3def\0\0\0\1a\0\12\45\0\0\0\0\0\3\0\0\0\0\0"
	local END = "\xfe\0\0\2\0"

	it("in its answers is refused", function()
		for _, case in ipairs {
			{ "packets out of order", "\1\0\0\9\0" },
			{ "an empty packet", { "" } },
			{ "a request for a local file", { "\xfb/etc/passwd" } },
			{ "an end where a result begins", { END } },
			{ "ends too early", { "\0" } },
			{ "ends too early", { "\xff" } },
			{ "ends too early", { "\0\xfe\1" } },
			{ "ends too early", { "\1", "\3def" } },
			{ "ends too early", { "\1", column:sub(1, 12) } },
			{ "a length of no known size", { "\0\xff\0\2\0\0\0" } },
			{ "too many columns", { "\xfd\0\0\1" } },
			{ "too many columns", { "\xfe\xff\xff\xff\xff\xff\xff\xff\xff" } },
			{ "too many columns", { "\xfe\xff\xff\xff\xff\xff\xff\xff\x7f" } },
			{ "more columns than it said", { "\1", column, column } },
			{ "ends too early", { "\1", column, END, "\5ab" } },
			{ "ends too early", { "\1", column, END, "\xfe\xff\xff\xff\xff\xff\xff\xff\x7fxxxx" } },
			{ "ends too early", { "\1", column, END, "\xfe\xff\xff\xff\xff\xff\xff\xff\xffxxxx" } },
		} do
			assert.truthy(refused(case[2]):find(case[1], 1, true), case[1])
		end
		assert.equal("mysql: unexpected answer to prepare", refused({ "\7" }, nil, "prepare"))
		assert.truthy(refused({ "\0\1\0\0\0\1\0\0\0\0\0\0", "x" }, nil, "prepare"):find "too early")
	end)

	it("can't take more memory than allowed", function()
		local rows = { "\1", column, END }
		for i = 4, 2000 do
			rows[i] = "\1x"
		end
		local small = { max_reply = 100000 }
		assert.truthy(refused(rows, small):find "too big")
		local results = {}
		for i = 1, 1000 do
			results[i] = "\0\0\0\8\0\0\0" -- more results follow
		end
		assert.truthy(refused(results, small):find "too big")
		assert.truthy(refused("\xff\xff\xff\1", small):find "too big")
	end)

	it("in rows of statements is refused", function()
		local stmt = { prepare_id = 1, param_count = 0 }
		local function execute(kind, row)
			local typed = column:sub(1, -7) .. string.char(kind) .. column:sub(-5)
			local port = peer(function(sock)
				packet.write(sock, greeting "mysql_native_password")
				read_login(sock)
				packet.write(sock, OK)
				packet.begin(sock, 0)
				packet.read(sock)
				for _, payload in ipairs { "\1", typed, END, row, END } do
					packet.write(sock, payload)
				end
				socket.read(sock[1], 1)
			end)
			local db = connect(port)
			local ok, result = pcall(db.execute, db, stmt)
			db:disconnect()
			return ok, result
		end
		assert.same({ true, { { a = 5 } } }, { execute(3, "\0\0\5\0\0\0") })
		assert.same({ true, { { a = "xy" } } }, { execute(200, "\0\0\2xy") })
		for _, case in ipairs {
			{ "a row that is none", 3, "\1\0\5\0\0\0" },
			{ "a row that is none", 3, "\0" },
			{ "ends too early", 3, "\0\0\5\0" },
			{ "ends too early", 8, "\0\0\5\0" },
			{ "ends too early", 12, "\0\0\11\0" },
			{ "a date of no known size", 12, "\0\0\15" .. ("\0"):rep(15) },
			{ "ends too early", 254, "\0\0\xfc\xff" },
		} do
			local ok, err = execute(case[2], case[3])
			assert.is_false(ok)
			assert.truthy(tostring(err):find(case[1], 1, true), tostring(err))
		end
	end)
end)
