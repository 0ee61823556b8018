-- Both gates under real sockets: what they carry, their limits, and clients that lie.

local framed = require "framed"
local kit = require "testkit"
local node = require "node"

local function start(...)
	local n = node.start { start = table.concat({ ... }, " "), thread = 2 }
	n.port = tonumber((n:expect "listening at.- port (%d+)"))
	return n
end

-- What holds for both: `start_gate` starts a node, `width` is the size of the length, `warning`
-- what is said of a client that doesn't read.
local function common(start_gate, width, warning)
	local function open(n)
		return framed.connect(n.port, width)
	end

	it("echoes frames, also cut into single bytes or many at once", function()
		local n = start_gate(64)
		local c = open(n)
		assert.equal("hello", c:ask "hello")
		for b in string.pack(">s" .. width, "byte by byte"):gmatch "." do
			c:raw(b)
		end
		assert.equal("byte by byte", c:receive())
		local many = {}
		for i = 1, 1000 do
			many[i] = string.pack(">s" .. width, "frame " .. i)
		end
		c:raw(table.concat(many))
		for i = 1, 1000 do
			assert.equal("frame " .. i, c:receive())
		end
		local big = ("0123456789abcdef"):rep(4095)
		assert.equal(big, c:ask(big))
		c:close()
		n:kill()
	end)

	it("tells of a close by the peer, and of a kick", function()
		local n = start_gate(64)
		local c = open(n)
		assert.equal("x", c:ask "x")
		local fd = n:expect "open (%d+)"
		c:close()
		n:expect("close " .. fd)
		local d = open(n)
		d:send "kick"
		assert.is_true(d:ended())
		n:expect("close " .. fd + 1)
		n:kill()
	end)

	it("survives a reset in the middle of a frame", function()
		local n = start_gate(64)
		for _ = 1, 5 do
			local c = open(n)
			c:ask "x"
			c:send "flood" -- unread bytes at close make it a reset
			c:raw(string.pack(">I" .. width, 60000) .. "half")
			c:close()
		end
		local _, closes = 0, 0
		node.eventually(function()
			n:pump(0.1)
			_, closes = n.text:gsub("close %d+", "")
			return closes == 5
		end)
		local c = open(n)
		assert.equal("still here", c:ask "still here")
		c:close()
		n:kill()
	end)

	it("serves others while a client never reads", function()
		local n = start_gate(64)
		local deaf = open(n)
		deaf:send "flood"
		local c = open(n)
		for i = 1, 100 do
			assert.equal("x" .. i, c:ask("x" .. i))
		end
		n:expect(warning)
		deaf:close()
		assert.equal("after", c:ask "after")
		c:close()
		n:kill()
	end)

	it("holds 1,000 connections that each announce much and send little", function()
		local n = start_gate(1100)
		local first = open(n)
		first:ask "warm"
		local before = n:resident()
		local all = {}
		for i = 1, 1000 do
			all[i] = open(n)
			all[i]:raw(string.pack(">I" .. width, width == 2 and 65535 or 0xfffff0) .. "abc")
		end
		-- all have been taken once a later client is answered and every open was told
		node.eventually(function()
			n:pump(0.05)
			return select(2, n.text:gsub("open %d+ ", "")) >= 1001
		end)
		local last = open(n)
		assert.equal("last", last:ask "last")
		assert.equal("first", first:ask "first")
		local growth = n:resident() - before
		assert.is_true(growth < 40000, "1,000 half frames took " .. growth .. " KB")
		for i = 1, 1000 do
			all[i]:close()
		end
		node.eventually(function()
			n:pump(0.05)
			return select(2, n.text:gsub("close %d+", "")) >= 1000
		end)
		assert.equal("done", last:ask "done")
		n:kill()
	end)
end

describe("the Lua gate", function()
	local function lua_gate(...)
		return start("gatewatch", ...)
	end
	common(lua_gate, 2, "warning %d+ %d+")

	it("admits maxclient - 1 clients, refuses more without a word to the watchdog", function()
		local n = lua_gate(3)
		local a, b = framed.connect(n.port), framed.connect(n.port)
		assert.equal("a", a:ask "a")
		assert.equal("b", b:ask "b")
		local refused = framed.connect(n.port)
		assert.is_true(refused:ended())
		a:close()
		n:expect "close %d+"
		node.eventually(function()
			local c = framed.connect(n.port)
			local body = c:ask "c"
			c:close()
			return body == "c"
		end)
		for fd in n.text:gmatch "close (%d+)" do
			assert.truthy(n.text:find("open " .. fd .. " "), "a close of an unknown client")
		end
		n:kill()
	end)

	it("forwards to an agent: type client, session fd, source the gate", function()
		local n = lua_gate(8)
		local c = framed.connect(n.port)
		assert.equal("forwarded", c:ask "agent")
		assert.equal("agent hi gate", c:ask "hi")
		c:send "raise"
		assert.equal("agent again gate", c:ask "again")
		-- an agent that waits doesn't hold the next frame back
		c:send "slow"
		assert.equal("agent quick gate", c:ask "quick")
		assert.equal("agent slow gate", c:receive())
		assert.equal("agent  gate", c:ask "")
		n:kill()
	end)

	it("forwards with a source and to an agent of the caller's choice", function()
		local n = lua_gate(8)
		local c = framed.connect(n.port)
		assert.equal("forwarded", c:ask "self")
		assert.equal("self hi true", c:ask "hi")
		n:kill()
	end)

	it("closes a client that its watchdog forgets", function()
		local n = lua_gate(64, 20)
		local c = framed.connect(n.port)
		c:ask "x"
		local before = n:descriptors()
		for _ = 1, 20 do
			local d = framed.connect(n.port)
			assert.equal("y", d:ask "y")
			d:close()
		end
		node.eventually(function()
			return n:descriptors() <= before
		end)
		assert.equal("still", c:ask "still")
		n:kill()
	end)

	it("closes clients that take too long for a frame, when it has a frame_time", function()
		local n = lua_gate(8, 6000, 50)
		local c = framed.connect(n.port)
		assert.equal("patient", c:ask "patient")
		local slow, slower = framed.connect(n.port), framed.connect(n.port)
		slow:raw "\0"
		slower:ask "x"
		slower:raw "\0\5abc"
		assert.is_true(slow:ended())
		assert.is_true(slower:ended())
		n:expect "gateserver: fd %(%d+%) didn't finish a frame within 0.5 seconds: closed"
		n:expect "close %d+.*close %d+"
		assert.equal("still here", c:ask "still here")
		n:kill()
	end)

	it("says where it listens, and why it can't", function()
		local n = lua_gate(8)
		n:expect "Listen on 8%.8%.8%.8 1\n"
		n:expect "Listen on 127%.0%.0%.1 0\n"
		n:expect "Listen error"
		n:kill()
	end)

	it("delivers zero-length frames", function()
		local n = lua_gate(8)
		local c = framed.connect(n.port)
		assert.equal("", c:ask "")
		n:kill()
	end)

	it("refuses unknown commands and descriptors, and opening twice", function()
		local n = lua_gate(8)
		local c = framed.connect(n.port)
		assert.equal("false false", c:ask "unknown")
		assert.truthy(c:ask "twice":find "^false")
		n:kill()
	end)

	it("stops listening on close, keeps its clients, and can be opened again", function()
		local n = lua_gate(8)
		local c = framed.connect(n.port)
		assert.equal("closed", c:ask "close")
		node.eventually(function()
			local fd = kit.connect(n.port)
			if fd then
				kit.close(fd)
			end
			return fd == nil
		end)
		local port = tonumber(c:ask "reopen":match "port (%d+)")
		local d = framed.connect(port)
		assert.equal("new", d:ask "new")
		assert.equal("old", c:ask "old")
		n:kill()
	end)
end)

for _, style in ipairs { "S", "L" } do
	describe("the C gate, header " .. style, function()
		local width = style == "S" and 2 or 4
		local function c_gate(max, mode)
			return start("cgatewatch", style, max, mode)
		end
		common(c_gate, width, "fd %(%d+%) send buffer %(%d+%)K")

		it("closes connections beyond its maximum", function()
			local n = c_gate(2)
			local a, b = framed.connect(n.port, width), framed.connect(n.port, width)
			assert.equal("a", a:ask "a")
			assert.equal("b", b:ask "b")
			local refused = framed.connect(n.port, width)
			assert.is_true(refused:ended())
			a:close()
			n:expect "close %d+"
			node.eventually(function()
				local c = framed.connect(n.port, width)
				local body = c:ask "c"
				c:close()
				return body == "c"
			end)
			n:kill()
		end)

		it("tells the watchdog the peer's address, and logs the id in hex", function()
			local n = c_gate(8)
			local c = framed.connect(n.port, width)
			c:ask "x"
			local fd = n:expect "open (%d+) %1 127%.0%.0%.1:%d+:0"
			n:expect(("socket open: %x"):format(fd))
			n:kill()
		end)

		it("forwards to an agent with the client's handle, or to a broker", function()
			local n = c_gate(8)
			local c = framed.connect(n.port, width)
			assert.equal("forwarded", c:ask "agent")
			assert.equal("client hi 4321", c:ask "hi")
			local d = framed.connect(n.port, width)
			assert.equal("brokered", d:ask "broker")
			assert.equal("client hi gate", d:ask "hi")
			assert.equal("client hi gate", c:ask "hi")
			assert.equal("unbrokered", d:ask "unbroker")
			assert.equal("plain", d:ask "plain")
			n:kill()
		end)

		it("skips empty frames", function()
			local n = c_gate(8)
			local c = framed.connect(n.port, width)
			c:send ""
			c:send ""
			assert.equal("x", c:ask "x")
			n:kill()
		end)

		it("logs commands and messages it can't use", function()
			local n = c_gate(8)
			local c = framed.connect(n.port, width)
			assert.equal("survived", c:ask "bad")
			n:expect "%[gate%] Unknown command : nonsense 1 2\n"
			n:expect "Invalid client message from %x+\n"
			n:expect "Invalid client id %-1 from %x+\n"
			n:expect "Invalid client id 30583 from %x+\n"
			n:kill()
		end)

		it("stops listening on close and keeps its clients", function()
			local n = c_gate(8)
			local c = framed.connect(n.port, width)
			assert.equal("closed", c:ask "close")
			node.eventually(function()
				local fd = kit.connect(n.port)
				if fd then
					kit.close(fd)
				end
				return fd == nil
			end)
			assert.equal("old", c:ask "old")
			n:kill()
		end)

		if style == "L" then
			it("refuses a length of 16 MiB and more from the header alone", function()
				local n = c_gate(8)
				for _, header in ipairs { "\1\0\0\0", "\x7f\xff\xff\xff", "\x80\0\0\0", "\xff\xff\xff\xff" } do
					n.text = ""
					local c = framed.connect(n.port, width)
					c:raw(header)
					assert.is_true(c:ended())
					n:expect "Recv socket message > 16M"
					n:expect "close %d+"
					c:close()
				end
				local c = framed.connect(n.port, width)
				assert.equal("fine", c:ask "fine")
				local big = ("x"):rep(0xfffff)
				assert.equal(#big, #c:ask(big))
				n:kill()
			end)
		end
	end)
end

describe("the C gate", function()
	it("says what is wrong with its parameter, and doesn't start", function()
		local n = node.start { start = "cgatewatch S 1 refuse" }
		n:expect "refused"
		for _, text in ipairs {
			"Invalid gate parm S\n", "Invalid gate parm S ! 127.0.0.1:1 x 10\n",
			"Need max connection\n", "Invalid data header style\n", "Invalid watchdog .nobody\n",
			"Invalid gate address 127.0.0.1:0\n", "Invalid gate address 127.0.0.1:x\n",
			"Invalid gate address 127.0.0.1:99999\n", "can't listen on 8.8.8.8 port 1\n",
		} do
			n:expect((text:gsub("%p", "%%%0")))
		end
		n:kill()
	end)

	it("works without a watchdog", function()
		local n = start("cgatewatch", "S", 8, "none")
		local c = framed.connect(n.port)
		c:send "into the void"
		n:expect "socket open: %x+"
		c:close()
		n:kill()
	end)
end)
