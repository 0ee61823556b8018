-- snax.loginserver over the wire: the handshake, refusals, hostile clients.

local crypt = require "client.crypt"
local kit = require "testkit"
local node = require "node"

local b64, unb64 = crypt.base64encode, crypt.base64decode

local function unhex(s)
	return crypt.hexdecode((s:gsub(" ", "")))
end

describe("the login handshake", function()
	it("computes what the specification's example shows", function()
		local challenge = unhex "f3 f3 0f fa 7c 6b e9 aa"
		local secret = unhex "32 86 b1 e3 8e 2c 86 07"
		assert.equal("8/MP+nxr6ao=", b64(challenge))
		local key = unhex "01 02 03 04 05 06 07 08"
		assert.equal("mE4UGCgyNe0=", b64(crypt.dhexchange(key)))
		assert.equal(secret, crypt.dhsecret(unb64 "bXfKNVu6jMw=", key))
		assert.equal("pRRoOT9XdLU=", b64(crypt.hmac64(challenge, secret)))
		assert.equal("yJibqDlvQ4UXREBFv5oi6ANRinl29SYLxY2/cbFPiss=",
			b64(crypt.desencode(secret, "aGVsbG8=@c2FtcGxl:cGFzc3dvcmQ=")))
		assert.equal("MQ==", b64 "1")
	end)
end)

describe("snax.loginserver", function()
	local n

	local function connect()
		return { fd = assert(kit.connect(n.port)), buffer = "" }
	end

	-- The next line; nil when the connection ends first.
	local function line(c)
		while true do
			local s, rest = c.buffer:match "^(.-)\n(.*)$"
			if s then
				c.buffer = rest
				return s
			end
			local bytes = kit.read(c.fd, 60)
			if bytes == nil or bytes == "" then
				return nil, bytes
			end
			c.buffer = c.buffer .. bytes
		end
	end

	local function write(c, text)
		kit.write(c.fd, text .. "\n", 30)
	end

	local function ended(c)
		local s, why = line(c)
		kit.close(c.fd)
		return s == nil and why == ""
	end

	-- The handshake up to the shared secret.
	local function exchange(c)
		local challenge = unb64(line(c))
		assert.equal(8, #challenge)
		local key = crypt.randomkey()
		write(c, b64(crypt.dhexchange(key)))
		return crypt.dhsecret(unb64(line(c)), key), challenge
	end

	local function begin(token)
		local c = connect()
		local secret, challenge = exchange(c)
		write(c, b64(crypt.hmac64(challenge, secret)))
		write(c, b64(crypt.desencode(secret, token)))
		return c
	end

	local function login(token)
		local c = begin(token)
		local reply = line(c)
		assert.is_true(ended(c))
		return reply
	end

	setup(function()
		n = node.start { start = "loginnode main" }
		n.port = tonumber((n:expect "listening at port (%d+)"))
	end)

	teardown(function()
		n:kill()
	end)

	it("listens where it says", function()
		n:expect "login server listen at : 127%.0%.0%.1 0"
	end)

	it("logs in and closes after the reply", function()
		assert.equal("200 " .. b64 "1", login "hello@sample:password")
		assert.equal("200 " .. b64 "2", login "hello@sample:password")
		assert.equal("200 ", login "nosub@sample:password")
		n:expect "connect from 127%.0%.0%.1:%d+ %(fd = %d+%)"
	end)

	it("says 401 to a wrong password, a wrong code, a wrong key, and what isn't base64", function()
		assert.equal("401 Unauthorized", login "hello@sample:guess")
		n:expect "invalid client %(fd = %d+%) error = .-wrong password"

		local c = connect()
		exchange(c)
		write(c, b64 "12345678")
		assert.equal("401 Unauthorized", line(c))
		assert.is_true(ended(c))
		n:expect "invalid client %(fd = %d+%) error = challenge failed"

		c = connect()
		line(c)
		write(c, b64 "short")
		assert.equal("401 Unauthorized", line(c))
		assert.is_true(ended(c))
		n:expect "invalid client %(fd = %d+%) error = Invalid client key"

		for _, bad in ipairs { "!", "=", b64(("\0"):rep(8)) } do
			c = connect()
			line(c)
			write(c, bad)
			assert.equal("401 Unauthorized", line(c))
			assert.is_true(ended(c))
		end

		c = connect()
		local secret, challenge = exchange(c)
		write(c, b64(crypt.hmac64(challenge, secret)))
		write(c, b64 "not a cipher text")
		assert.equal("401 Unauthorized", line(c))
		assert.is_true(ended(c))
	end)

	it("says 403 when the application refuses", function()
		assert.equal("403 Forbidden", login "forbidden@sample:password")
		n:expect "error = .-the application refuses"
	end)

	it("says 406 to a user who is just being logged in", function()
		local first = begin "slow@sample:password"
		n:expect "slow login begins"
		assert.equal("406 Not Acceptable", login "slow@sample:password")
		n:expect "User slow is already login"
		assert.truthy(line(first):find "^200 ")
		assert.is_true(ended(first))
		assert.truthy(login "slow@sample:password":find "^200 ")
	end)

	it("cuts off lines that never end", function()
		local c = connect()
		line(c)
		kit.write(c.fd, ("x"):rep(300000), 30)
		assert.is_nil((line(c)))
		kit.close(c.fd)
		n:expect "socket buffer overflow"
		assert.truthy(login "hello@sample:password":find "^200 ")
	end)

	it("ignores a flood behind the token, without a log line for it", function()
		local c = begin "slow@sample:password"
		kit.write(c.fd, ("y"):rep(200000), 1)
		-- unread bytes make the close a reset, which may overtake the reply
		local reply = line(c)
		assert.is_true(reply == nil or reply:find "^200 " == 1)
		kit.close(c.fd)
		assert.truthy(login "hello@sample:password":find "^200 ")
		assert.is_nil(n.text:find "drop package")
	end)

	it("gives up on half handshakes, and keeps no descriptor of them", function()
		local before = n:descriptors()
		local all = {}
		for i = 1, 200 do
			all[i] = connect()
			if i % 2 == 0 then
				line(all[i])
				kit.write(all[i].fd, "half a line", 10)
			end
			n:pump(0)
		end
		-- others get in meanwhile
		assert.truthy(login "hello@sample:password":find "^200 ")
		for i = 1, 200 do
			if i % 4 == 0 then
				kit.close(all[i].fd)
			else
				while true do
					local s, why = line(all[i])
					if s == nil then
						assert.equal("", why)
						break
					end
				end
				kit.close(all[i].fd)
			end
			n:pump(0)
		end
		node.eventually(function()
			n:pump(0)
			return n:descriptors() <= before
		end)
		n:expect "auth failed: socket %(fd = %d+%) closed"
		assert.truthy(login "hello@sample:password":find "^200 ")
	end)
end)
