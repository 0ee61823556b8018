-- Harbor mode byte by byte: hand-written peers of the master, of a slave, and of a link.

local kit = require "testkit"
local node = require "node"
local h = require "harborkit"

local SELF = 0x01000009 -- the start service of node 1

local function expect_bytes(fd, hex)
	local want = h.bytes(hex)
	assert.equal(h.hex(want), h.hex(h.read(fd, #want)))
end

describe("the harbor master", function()
	local n, master

	setup(function()
		master = h.free_port()
		n = h.start { id = 1, master = master, standalone = true, start = "harbornode ECHO1" }
		n:expect "node is ready"
		-- until the master has the node's name: it answers, or tells of it
		local fd = h.connect(master)
		h.write(fd, h.package("H", 99, "127.0.0.1:1") .. h.package("Q", "ECHO1"))
		local welcome, name = h.package("W", 1), h.package("N", "ECHO1", SELF)
		assert.equal(h.hex(welcome), h.hex(h.read(fd, #welcome)))
		local told
		repeat -- other names may be on their way, too
			local size = h.read(fd, 1)
			told = size .. h.read(fd, size:byte())
		until told == name
		kit.close(fd)
		n:expect "slave 99 is down"
	end)
	teardown(function()
		n:kill()
	end)

	-- A hand-written slave; returns its connection to the master and the listener it reports.
	local function slave(id, others)
		local listener, port = kit.listen()
		local fd = h.connect(master)
		h.write(fd, h.package("H", id, "127.0.0.1:" .. port))
		local reply = h.package("W", others)
		assert.equal(h.hex(reply), h.hex(h.read(fd, #reply)))
		return fd, listener, port
	end

	-- End a slave, and wait until the master knows.
	local function leave(fd, id)
		n.text = ""
		kit.close(fd)
		n:expect(("slave %d is down"):format(id))
	end

	-- Take the link that node 1 dials.
	local function link(listener, id)
		local fd = h.accept(listener)
		expect_bytes(fd, "01")
		h.write(fd, string.char(id))
		return fd
	end

	it("speaks the classic bytes", function()
		assert.equal("14 0c 48 0a 02 7c 31 32 37 2e 30 2e 30 2e 31 3a 32 35 35 32 37",
			h.hex(h.package("H", 2, "127.0.0.1:25527")))
		local fd = h.connect(master)
		h.write(fd, h.bytes "14 0c 48 0a 02 7c 31 32 37 2e 30 2e 30 2e 31 3a 32 35 35 32 37")
		expect_bytes(fd, "04 0c 57 0a 01")
		h.write(fd, h.bytes "08 0c 51 2c 45 43 48 4f 31")
		expect_bytes(fd, "0d 0c 4e 2c 45 43 48 4f 31 22 09 00 00 01")
		h.write(fd, h.bytes "0a 0c 51 3c 53 45 52 56 49 43 45")
		expect_bytes(fd, "0f 0c 4e 3c 53 45 52 56 49 43 45 22 08 00 00 01")
		h.write(fd, h.bytes "0a 0c 52 14 52 32 22 09 00 00 02")
		expect_bytes(fd, "0a 0c 4e 14 52 32 22 09 00 00 02")
		-- a third slave: the second is told, and told of its end
		local third = h.connect(master)
		h.write(third, h.bytes "14 0c 48 0a 03 7c 31 32 37 2e 30 2e 30 2e 31 3a 32 35 39 39 38")
		expect_bytes(third, "04 0c 57 0a 02")
		expect_bytes(fd, "14 0c 43 0a 03 7c 31 32 37 2e 30 2e 30 2e 31 3a 32 35 39 39 38")
		kit.close(fd)
		expect_bytes(third, "04 0c 44 0a 02")
		n:expect "connect from 127.0.0.1:%d+ %d+"
		n:expect "Harbor 2 %(fd=%d+%) report 127.0.0.1:25527"
		n:expect "slave 2 is down"
		leave(third, 3)
	end)

	it("answers a query only when the name is known", function()
		local fd = slave(2, 1)
		h.write(fd, h.package("Q", "UNKNOWN") .. h.package("Q", "ECHO1"))
		local reply = h.package("N", "ECHO1", SELF)
		assert.equal(h.hex(reply), h.hex(h.read(fd, #reply)))
		leave(fd, 2)
	end)

	it("gives a name to the first, and frees it with its node", function()
		local two, three = slave(2, 1), slave(3, 2)
		h.read(two, #h.package("C", 3, "127.0.0.1:00000")) -- told of slave 3
		h.write(two, h.package("R", "SPEC", 0x02000077))
		local first = h.package("N", "SPEC", 0x02000077)
		assert.equal(h.hex(first), h.hex(h.read(three, #first)))
		assert.equal(h.hex(first), h.hex(h.read(two, #first)))
		h.write(three, h.package("R", "SPEC", 0x03000077))
		assert.equal(h.hex(first), h.hex(h.read(three, #first))) -- only who asked, with the first
		n:expect "The global name SPEC of :03000077 is registered already, by :02000077"
		kit.close(two)
		expect_bytes(three, "04 0c 44 0a 02")
		h.write(three, h.package("R", "SPEC", 0x03000077))
		local second = h.package("N", "SPEC", 0x03000077)
		assert.equal(h.hex(second), h.hex(h.read(three, #second)))
		leave(three, 3)
	end)

	it("refuses bad handshakes with one line, and closes", function()
		local function refused(bytes, text)
			n.text = ""
			local fd = h.connect(master)
			h.write(fd, bytes)
			assert.equal("", h.read_end(fd))
			kit.close(fd)
			n:expect("disconnect fd = %d+, error = " .. text)
		end
		refused(h.package("X", 2, "a"), "Invalid handshake type")
		refused(h.package("H", 0, "127.0.0.1:1"), "Invalid slave id 0")
		refused(h.package("H", 256, "127.0.0.1:1"), "Invalid slave id 256")
		refused(h.package("H", 4, 5), "Invalid slave address 5")
		refused(h.package("H", 1, "127.0.0.1:1"), "Slave 1 already register on 127.0.0.1:%d+")
		refused("\0", "Invalid handshake type")
		refused("\2\xff\xff", "Invalid package")
		refused("\9\x13" .. ("\1"):rep(8), "Invalid package") -- a pointer
	end)

	it("ends a slave that talks nonsense", function()
		local fd = slave(2, 1)
		n.text = ""
		h.write(fd, h.package("Z", 1))
		h.read_end(fd)
		n:expect "disconnect fd = %d+, error = Invalid slave message type Z"
		n:expect "slave 2 is down"
		fd = slave(2, 1)
		n.text = ""
		h.write(fd, h.package("R", "", 1) .. h.package("R", 7, 8) .. "\1\6")
		h.read_end(fd)
		n:expect "Invalid global name"
		n:expect "disconnect fd = %d+, error = Invalid package"
		assert.equal(0, select(2, n.text:gsub("traceback", "")))
	end)

	it("survives junk", function()
		math.randomseed(42)
		for _ = 1, 100 do
			local junk = {}
			for i = 1, math.random(1, 40) do
				junk[i] = string.char(math.random(0, 255))
			end
			local fd = h.connect(master)
			h.write(fd, table.concat(junk))
			kit.close(fd)
		end
		leave(slave(2, 1), 2)
	end)

	describe("and a link", function()
		local master_fd, listener, fd

		before_each(function()
			n.text = ""
			master_fd, listener = slave(2, 1)
			fd = link(listener, 2)
		end)
		after_each(function()
			kit.close(fd)
			leave(master_fd, 2)
			kit.close(listener)
		end)

		it("speaks the classic bytes", function()
			h.order(n, "hi", 0x02000009, 8)
			expect_bytes(fd, "00 00 00 11 14 48 49 0a 02 01 00 00 09 0a 00 00 09 00 00 00 08")
			h.write(fd, h.bytes [[00 00 00 13 24 45 43 48 4f 0a 07 02 00 00 09 0a 00 77 77 00 00 00 06]])
			expect_bytes(fd, "00 00 00 0c 01 00 77 77 07 00 00 09 00 00 00 06")
			n:expect "Unknown destination :1007777 from :2000009 type%(10%)"
			n:expect "Connect to harbor 2 %(fd=%d+%), 127.0.0.1:%d+"
		end)

		it("carries a call and its answer in both directions", function()
			local result = h.call(n, 0x02000009, "add", "x")
			local head = h.read(fd, 4)
			local frame = h.read(fd, string.unpack(">I4", head))
			local source, destination, session = string.unpack(">I4I4I4", frame, #frame - 11)
			assert.equal(SELF, source)
			assert.equal(0x0a000009, destination)
			assert.equal("1c 61 64 64 0c 78", h.hex(frame:sub(1, -13)))
			h.write(fd, h.frame("\x0a\x63", 0x02000009, SELF, 1, session))
			assert.equal("true 99", result())
			-- ECHO 99, in three pieces
			local request = h.frame(h.bytes "24 45 43 48 4f 0a 63", 0x02000009, SELF, 10, 8)
			h.write(fd, request:sub(1, 2))
			kit.sleep(0.05)
			h.write(fd, request:sub(3, 12))
			kit.sleep(0.05)
			h.write(fd, request:sub(13))
			expect_bytes(fd, "00 00 00 0e 0a 63 01 00 00 09 01 00 00 09 00 00 00 08")
		end)

		it("resolves names that this node registers", function()
			h.write(master_fd, h.package("R", "TWO", 0x02000021))
			h.read(master_fd, #h.package("N", "TWO", 0x02000021))
			h.order(n, "query", "TWO")
			n:expect("query TWO true " .. 0x02000021)
			h.order(n, "send", "TWO", "S")
			expect_bytes(fd, "00 00 00 0e 0c 53 01 00 00 09 0a 00 00 21 00 00 00 00")
		end)

		it("ends with one line at a frame that's too short, too long or forged", function()
			local cases = {
				{ "00 00 00 0b", "Message is too short from harbor 2" },
				{ "00 00 00 00", "Message is too short from harbor 2" },
				{ "01 00 00 00", "Message is too long from harbor 2" },
				{ "ff ff ff ff", "Message is too long from harbor 2" },
			}
			for _, type in ipairs { 4, 5, 6 } do
				cases[#cases + 1] = { h.hex(h.frame(("\1"):rep(40), 0x02000009, SELF, type, 0)),
					("Invalid message type %d from harbor 2"):format(type) }
			end
			for _, case in ipairs(cases) do
				n.text = ""
				h.write(fd, h.bytes(case[1]):rep(3))
				h.read_end(fd)
				n:expect(case[2])
				local seen = n.text
				kit.close(fd)
				leave(master_fd, 2)
				assert.equal(1, select(2, (seen .. n.text):gsub(case[2], "")))
				kit.close(listener)
				master_fd, listener = slave(2, 1)
				fd = link(listener, 2)
			end
		end)

		it("refuses payloads that hold a pointer", function()
			n.text = ""
			local pointer = h.bytes "24 45 43 48 4f 13" .. ("\1"):rep(8)
			h.write(fd, h.frame(pointer, 0x02000009, SELF, 10, 8))
			expect_bytes(fd, "00 00 00 0c 01 00 00 09 07 00 00 09 00 00 00 08")
			n:expect "Message of :2000009 to :1000009 holds a pointer %(type = 10%)"
			local result = h.call(n, 0x02000009, "x")
			local frame = h.read(fd, string.unpack(">I4", h.read(fd, 4)))
			local session = string.unpack(">I4", frame, #frame - 3)
			h.write(fd, h.frame("\x13" .. ("\1"):rep(8), 0x02000009, SELF, 1, session))
			assert.truthy(result():find "call failed$")
		end)

		it("fails calls when it breaks, and those that come later", function()
			local pending = {}
			for i = 1, 200 do
				pending[i] = h.call(n, 0x02000009, "HANG")
			end
			for _ = 1, 200 do
				h.read(fd, string.unpack(">I4", h.read(fd, 4)))
			end
			h.order(n, "link", 2)
			kit.close(fd)
			for i = 1, 200 do
				assert.truthy(pending[i](10):find "^false .*call failed$")
			end
			n:expect "link 2 ended"
			n.text = ""
			assert.truthy(h.call(n, 0x02000009, "x")(10):find "call failed$")
			n:expect "Drop message to harbor 2 from 1000009 to 2000009 %(session = %d+, msgsz = 2%)"
			fd = kit.connect(master) -- for after_each to close
		end)

		it("ends when the dialled peer says another id, and counts as down", function()
			kit.close(fd)
			leave(master_fd, 2)
			kit.close(listener)
			master_fd, listener = slave(2, 1)
			fd = h.accept(listener)
			expect_bytes(fd, "01")
			local waiting = h.call(n, 0x02000009, "x")
			h.write(fd, "\7")
			h.read_end(fd)
			n:expect "Invalid shakehand id %(2%) from fd = %d+ , harbor = 7"
			assert.truthy(waiting(10):find "call failed$")
		end)

		it("holds messages for a node that wasn't seen yet", function()
			local result = h.call(n, 0x05000009, "x")
			local five_master, five_listener = slave(5, 2)
			local five = link(five_listener, 5)
			local frame = h.read(five, string.unpack(">I4", h.read(five, 4)))
			local session = string.unpack(">I4", frame, #frame - 3)
			h.write(five, h.frame("\x0a\x05", 0x05000009, SELF, 1, session))
			assert.equal("true 5", result())
			kit.close(five)
			leave(five_master, 5)
		end)

		it("carries large messages, and refuses those that are too large", function()
			h.order(n, "large", 0x02000009, 0xffffff - 12 - 14)
			local size = string.unpack(">I4", h.read(fd, 4))
			local frame = h.read(fd, size)
			assert.equal(size, #frame)
			local session = string.unpack(">I4", frame, #frame - 3)
			h.write(fd, h.frame("\x0a\x07", 0x02000009, SELF, 1, session))
			n:expect "large true 7"
			n.text = ""
			h.order(n, "large", 0x02000009, 0x1000000)
			n:expect "large false [^\n]*call failed"
			n:expect "Message to 2000009 is too long"
			-- and a large one from there
			h.write(fd, h.frame(h.bytes "24 53 49 5a 45 25 00 00 80 00" .. ("y"):rep(0x800000),
				0x02000009, SELF, 10, 9))
			expect_bytes(fd, "00 00 00 11 22 00 00 80 00 01 00 00 09 01 00 00 09 00 00 00 09")
		end)
	end)
end)

describe("the harbor slave", function()
	local function start(more)
		local listener, port = kit.listen()
		local role = { id = 2, master = port }
		for k, v in pairs(more or {}) do
			role[k] = v
		end
		local n = h.start(role)
		local fd = h.accept(listener)
		local hello = h.package("H", 2, "127.0.0.1:" .. n.port)
		assert.equal(h.hex(hello), h.hex(h.read(fd, #hello)))
		return n, fd, listener
	end

	-- Serve what a node asks at its start: a SERVICE that takes its report.
	local function serve_report(fd, link)
		expect_bytes(fd, "0a 0c 51 3c 53 45 52 56 49 43 45") -- Q SERVICE
		h.write(fd, h.bytes "0f 0c 4e 3c 53 45 52 56 49 43 45 22 08 00 00 01")
		local frame = h.read(link, string.unpack(">I4", h.read(link, 4)))
		local source, _, session = string.unpack(">I4I4I4", frame, #frame - 11)
		h.write(link, h.frame("", 0x01000008, source, 1, session))
	end

	it("waits for who was there before, then stops listening and dials who comes", function()
		local n, master = start()
		h.write(master, h.bytes "04 0c 57 0a 01")
		n:expect "Waiting for 1 harbors"
		local mute = h.connect(n.port) -- says nothing
		local own = h.connect(n.port)
		h.write(own, "\2")
		h.read_end(own)
		n:expect "Invalid harbor id 2"
		local link = h.connect(n.port)
		h.write(link, "\1")
		expect_bytes(link, "02")
		n:expect "New connection %(fd = %d+, 127.0.0.1:%d+%)"
		n:expect "Harbor 1 connected %(fd = %d+%)"
		serve_report(master, link)
		n:expect "Shakehand ready"
		n:expect "node is ready"
		node.eventually(function()
			return not kit.connect(n.port)
		end)
		-- a third node: this one dials it
		local listener, port = kit.listen()
		h.write(master, h.package("C", 3, "127.0.0.1:" .. port))
		h.order(n, "connect", 3)
		local third = h.accept(listener)
		expect_bytes(third, "02")
		h.write(third, "\3")
		n:expect("Connect to harbor 3 %(fd=%d+%), 127.0.0.1:" .. port)
		n:expect "connect 3 done"
		h.order(n, "link", 3)
		h.write(master, h.package("D", 3))
		n:expect "link 3 ended"
		h.read_end(third)
		-- it comes back under another address
		h.write(master, h.package("C", 3, "127.0.0.1:" .. port))
		third = h.accept(listener)
		expect_bytes(third, "02")
		h.write(third, "\3")
		local result = h.call(n, 0x03000009, "x")
		local frame = h.read(third, string.unpack(">I4", h.read(third, 4)))
		local source, _, session = string.unpack(">I4I4I4", frame, #frame - 11)
		h.write(third, h.frame("\x0a\x05", 0x03000009, source, 1, session))
		assert.equal("true 5", result())
		kit.close(mute)
		-- the master ends: who waits for that is told
		h.order(n, "linkmaster")
		h.order(n, "query", "NOBODY")
		expect_bytes(master, h.hex(h.package("Q", "NOBODY")))
		kit.close(master)
		n:expect "Master disconnect"
		n:expect "linkmaster ended"
		n:expect "query NOBODY false [^\n]*call failed"
		n:kill()
	end)

	it("refuses a second connection of one node", function()
		local n, master = start()
		h.write(master, h.bytes "04 0c 57 0a 02")
		local link = h.connect(n.port)
		h.write(link, "\1")
		expect_bytes(link, "02")
		local again = h.connect(n.port)
		h.write(again, "\1")
		h.read_end(again)
		n:expect "Slave 1 exist %(fd =%d+%)"
		local other = h.connect(n.port)
		h.write(other, "\3")
		expect_bytes(other, "02")
		serve_report(master, link)
		n:expect "Shakehand ready"
		n:kill()
	end)

	it("doesn't wait for a node that died meanwhile", function()
		local n, master = start()
		h.write(master, h.bytes "04 0c 57 0a 02")
		n:expect "Waiting for 2 harbors"
		local link = h.connect(n.port)
		h.write(link, "\1")
		expect_bytes(link, "02")
		h.write(master, h.package("D", 7))
		n:expect "Shakehand ready"
		n:kill()
	end)

	it("goes on after a while, and still takes who is late", function()
		local n, master = start { harbor_timeout = 1 }
		h.write(master, h.bytes "04 0c 57 0a 01")
		n:expect "Only 0 of 1 harbors connected in 1 seconds"
		n:expect "Shakehand ready"
		local link = h.connect(n.port)
		h.write(link, "\1")
		expect_bytes(link, "02")
		serve_report(master, link)
		n:expect "node is ready"
		n:kill()
	end)

	it("says why it can't start, and the node ends with 0", function()
		local n, master = start()
		h.write(master, h.package("Z", 1))
		assert.equal(0, n:exit_code())
		assert.truthy(n.text:find "init service failed: [^\n]*slave shakehand failed")
		kit.close(master)
		n = start { harbor_timeout = 1 } -- a master that says nothing
		assert.equal(0, n:exit_code())
		assert.truthy(n.text:find "slave shakehand failed")
		n = h.start { id = 2, master = h.free_port() }
		assert.equal(0, n:exit_code())
		assert.truthy(n.text:find "init service failed: [^\n]*Can't connect to master")
		n = node.start { harbor = 2, start = "harbornode", master = "127.0.0.1:1" }
		assert.equal(0, n:exit_code())
		assert.truthy(n.text:find "init service failed: [^\n]*needs the configuration key address")
	end)

	it("leaves a master that talks nonsense", function()
		for _, bytes in ipairs { h.package("Z", 1), "\2\xff\xff", h.package("N", "", 5),
			h.package("C", 0, "x"), h.package("N", ("n"):rep(16), 5) } do
			local n, master = start()
			h.write(master, h.bytes "03 0c 57 02")
			n:expect "Shakehand ready"
			h.write(master, bytes)
			h.read_end(master)
			n:expect "Master disconnect"
			n:kill()
		end
	end)
end)
