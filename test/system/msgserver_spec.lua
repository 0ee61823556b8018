-- snax.msgserver over the wire: handshake, requests, replay after a reconnect, hostile clients.

local crypt = require "client.crypt"
local framed = require "framed"
local kit = require "testkit"
local node = require "node"

local SECRET = "\x32\x86\xb1\xe3\x8e\x2c\x86\x07"
local NAME = "aGVsbG8=@c2FtcGxl#MQ=="

describe("snax.msgserver", function()
	local n, index

	local function hello(name, i, secret)
		local text = name .. ":" .. i
		return text .. ":" .. crypt.base64encode(crypt.hmac64(crypt.hashkey(text), secret or SECRET))
	end

	-- A connection past its handshake.
	local function connect()
		index = index + 1
		local c = framed.connect(n.port)
		assert.equal("200 OK", c:ask(hello(NAME, index)))
		return c
	end

	local function send(c, session, text)
		c:send(text .. (">I4"):pack(session))
	end

	-- ok, session and content of the next answer
	local function receive(c)
		local body = c:receive()
		if body then
			local ok, session = (">BI4"):unpack(body, #body - 4)
			return ok == 1, session, body:sub(1, -6)
		end
	end

	local function ask(c, session, text)
		send(c, session, text)
		return receive(c)
	end

	before_each(function()
		n = node.start { start = "msgnode main" }
		n.port = tonumber((n:expect "listening at port (%d+)"))
		index = 0
	end)

	after_each(function()
		n:kill()
	end)

	it("answers the handshake of the specification, byte for byte", function()
		assert.truthy(n.text:find("username " .. NAME, 1, true))
		local c = framed.connect(n.port)
		c:raw "\x00\x25aGVsbG8=@c2FtcGxl#MQ==:1:A0U5/OyzZss="
		assert.equal("\x00\x06200 OK", kit.read(c.fd, 30))
		c:raw "\x00\x08echo\0\0\0\0"
		assert.equal("\x00\x09echo\1\0\0\0\0", kit.read(c.fd, 30))
		c:raw "\x00\x09again\0\0\0\1"
		assert.equal("\x00\x0aagain\1\0\0\0\1", kit.read(c.fd, 30))
	end)

	it("refuses whoever isn't who he says, and closes", function()
		local function refused(text)
			local c = framed.connect(n.port)
			local reply = c:ask(text)
			assert.is_true(c:ended())
			c:close()
			return reply
		end
		assert.equal("404 User Not Found", refused "")
		assert.equal("404 User Not Found", refused "nobody:1:xxxx")
		assert.equal("404 User Not Found", refused(NAME))
		assert.equal("404 User Not Found", refused(("x"):rep(65535)))
		assert.equal("400 Bad Request", refused(NAME .. ":one:" .. crypt.base64encode "12345678"))
		assert.equal("400 Bad Request", refused(NAME .. ":1e400:" .. crypt.base64encode "12345678"))
		assert.equal("400 Bad Request", refused(NAME .. ":1:!"))
		assert.equal("401 Unauthorized", refused(hello(NAME, 1, "otherkey")))
		assert.equal("401 Unauthorized", refused(NAME .. ":1:" .. crypt.base64encode "short"))
		-- the index wasn't used up
		local c = framed.connect(n.port)
		assert.equal("200 OK", c:ask(hello(NAME, 1)))
		assert.equal("403 Index Expired", refused(hello(NAME, 1)))
		assert.equal("403 Index Expired", refused(hello(NAME, 0)))
		assert.equal("200 OK", framed.connect(n.port):ask(hello(NAME, 2)))
	end)

	it("answers requests, also failing, empty and big ones", function()
		local c = connect()
		assert.same({ true, 7, "echo me" }, { ask(c, 7, "echo me") })
		assert.same({ false, 8, "" }, { ask(c, 8, "raise") })
		assert.same({ true, 9, "" }, { ask(c, 9, "nothing") })
		assert.same({ true, 10, "" }, { ask(c, 10, "") })
		local ok, session, text = ask(c, 0xffffffff, "big 65530")
		assert.same({ true, 0xffffffff, 65530 }, { ok, session, #text })
		n:expect "the handler raises"
		local _, _, ip = ask(c, 11, "ip")
		assert.truthy(ip:find "^127%.0%.0%.1:%d+$")
	end)

	it("closes on a frame without a session, and on an answer too long", function()
		local c = connect()
		c:send "abc"
		assert.is_true(c:ended())
		n:expect "Invalid package .- : abc"
		c = connect()
		send(c, 1, "big 65531")
		assert.is_true(c:ended())
		n:expect "Invalid package"
		-- the session isn't stuck
		assert.same({ true, 1, "x" }, { ask(connect(), 1, "x") })
	end)

	it("resends an answer to a later connection without running the handler again", function()
		local c = connect()
		assert.same({ true, 5, "1" }, { ask(c, 5, "count") })
		-- on the same connection the number is used anew
		assert.same({ true, 5, "2" }, { ask(c, 5, "count") })
		c:close()
		n:expect("disconnected " .. NAME)
		c = connect()
		assert.same({ true, 5, "2" }, { ask(c, 5, "something else") })
		assert.same({ true, 6, "3" }, { ask(c, 6, "count") })
	end)

	it("gives the answer of a running request to who asked last", function()
		local a = connect()
		send(a, 1, "slow")
		assert.same({ true, 2, "x" }, { ask(a, 2, "x") })
		local b = connect()
		assert.same({ true, 1, "slept" }, { ask(b, 1, "slow") })
		assert.same({ true, 3, "3" }, { ask(b, 3, "count") })
		assert.is_nil((a:receive(0.1)))
	end)

	it("keeps an answer that came while the user was away", function()
		local a = connect()
		send(a, 1, "slow")
		assert.same({ true, 2, "x" }, { ask(a, 2, "x") })
		a:close()
		local b = connect()
		kit.sleep(1.2)
		assert.same({ true, 1, "slept" }, { ask(b, 1, "slow") })
		assert.same({ true, 3, "3" }, { ask(b, 3, "count") })
	end)

	it("merges one duplicate of a running request, and refuses more", function()
		local c = connect()
		send(c, 10, "slow")
		send(c, 10, "slow")
		assert.same({ true, 10, "slept" }, { receive(c) })
		assert.same({ true, 1, "2" }, { ask(c, 1, "count") })
		send(c, 10, "slow")
		send(c, 10, "slow")
		send(c, 10, "slow")
		assert.is_true(c:ended())
		n:expect "Conflict session 3130"
	end)

	it("retires old answers by count and by bytes", function()
		local c = connect()
		for i = 1, 16 do
			ask(c, i, "count")
		end
		local d = connect()
		assert.same({ true, 1, "17" }, { ask(d, 1, "count") }) -- gone: runs again
		assert.same({ true, 16, "16" }, { ask(d, 16, "count") })
		-- 15 of 64 KB stay below the limit of 1 MB, and more don't stay
		for i = 101, 130 do
			ask(d, i, "big 60000")
		end
		assert.is_true(n:resident() < 300000)
	end)

	it("doesn't take a new connection for gone when the old one closes", function()
		local a = connect()
		local b = connect()
		a:close()
		kit.sleep(0.3)
		local ok, _, ip = ask(b, 1, "ip")
		assert.is_true(ok)
		assert.truthy(ip:find "^127")
		assert.is_nil(n.text:find("disconnected", 1, true))
		b:close()
		n:expect("disconnected " .. NAME)
	end)

	it("closes every connection of a user at logout", function()
		local a, b = connect(), connect()
		send(b, 1, "logout")
		assert.is_true(a:ended())
		assert.is_true(b:ended())
		local c = framed.connect(n.port)
		assert.equal("404 User Not Found", c:ask(hello(NAME, 100)))
	end)

	it("keeps no descriptor of who leaves or waits before the handshake", function()
		local c = connect()
		local before = n:descriptors()
		local all = {}
		for i = 1, 300 do
			all[i] = framed.connect(n.port)
			if i % 3 == 0 then
				all[i]:raw "\xff"
			elseif i % 3 == 1 then
				all[i]:close()
			end
		end
		for i = 1, 300 do
			if i % 3 ~= 1 then
				assert.is_true(all[i]:ended())
				all[i]:close()
			end
		end
		node.eventually(function()
			return n:descriptors() <= before
		end)
		assert.same({ true, 1, "x" }, { ask(c, 1, "x") })
	end)
end)
