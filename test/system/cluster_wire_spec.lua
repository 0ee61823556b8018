-- The cluster protocol byte by byte: a raw peer against a real node.

local kit = require "testkit"
local node = require "node"

local function unhex(s)
	return (s:gsub("%s", ""):gsub("%x%x", function(b)
		return string.char(tonumber(b, 16))
	end))
end

local function hex(s)
	return (s:gsub(".", function(b)
		return ("%02x"):format(b:byte())
	end))
end

local function frame(body)
	return string.pack(">s2", body)
end

local function u32(n)
	return string.pack("<I4", n)
end

-- what the peer sends, as it arrives; and as a project's own gate passes it on, in frames
local gates = {
	["the cluster wire"] = "./service/?.lua;./test/services/?.lua",
	["the cluster wire with another gate"] =
		"./test/services/framegate/?.lua;./service/?.lua;./test/services/?.lua",
}

for title, path in pairs(gates) do describe(title, function()
	local server, fd, handle

	local function open()
		return assert(kit.connect(server.port))
	end

	-- Next frame's body; nil when the connection ends or nothing comes.
	local input = {}
	local function receive(c, limit)
		local buffer = input[c] or ""
		local deadline = kit.now() + (limit or 20)
		while true do
			if #buffer >= 2 then
				local n = string.unpack(">I2", buffer)
				if #buffer >= n + 2 then
					input[c] = buffer:sub(n + 3)
					return buffer:sub(3, n + 2)
				end
			end
			local bytes = kit.read(c, math.max(deadline - kit.now(), 0))
			if bytes == nil or bytes == "" then
				input[c] = nil
				return nil, bytes
			end
			buffer = buffer .. bytes
		end
	end

	local function closed(c)
		local body, why = receive(c)
		return body == nil and why == ""
	end

	local function exchange(bytes)
		kit.write(fd, bytes, 10)
		local body = receive(fd)
		return body and hex(body)
	end

	-- The node still serves others.
	local function alive()
		local c = open()
		kit.write(c, frame("\x80\5@echo" .. u32(77) .. "\x24echo\x0a\x05"), 10)
		local body = receive(c)
		kit.close(c)
		return body == u32(77) .. "\1\x0a\x05"
	end

	setup(function()
		server = node.start { start = "clusternode", cluster_max_partial = 8, cluster_max_message = 1,
			luaservice = path }
		server.port = tonumber((server:expect "port (%d+)"))
		fd = open()
		handle = 10
	end)

	teardown(function()
		server:kill()
	end)

	it("answers a name query (V1)", function()
		local answer = exchange(unhex "00 0e 00 00 00 00 00 01 00 00 00 24 65 63 68 6f")
		assert.equal("01000000010a0a", answer)
	end)

	it("answers a call to a handle and to a name (V2, V3)", function()
		assert.equal("02000000010a010c61",
			exchange(frame("\0" .. u32(handle) .. u32(2) .. "\x24echo\x0a\x01\x0c\x61")))
		assert.equal("03000000010a010c61",
			exchange(frame("\x80\5@echo" .. u32(3) .. "\x24echo\x0a\x01\x0c\x61")))
	end)

	it("answers a call to :hex and an empty answer (V5, V6)", function()
		assert.equal("050000000101",
			exchange(frame("\x80\x09:0000000a" .. u32(5) .. "\x24echo\x01")))
		assert.equal("0700000001", exchange(frame("\x80\5@echo" .. u32(7) .. "\x24echo")))
	end)

	it("answers errors (V13)", function()
		assert.equal(hex(u32(12) .. "\0Invalid name"),
			exchange(unhex "00 12 80 07 40 6e 6f 73 75 63 68 0c 00 00 00 24 45 43 48 4f"))
		assert.equal(hex(u32(15) .. "\0name not found"),
			exchange(unhex "00 10 00 00 00 00 00 0f 00 00 00 34 6e 6f 73 75 63 68"))
		local body = exchange(frame("\x80\5@echo" .. u32(16) .. "\x24boom"))
		assert.truthy(unhex(body):find "call failed$")
	end)

	it("takes a request in parts, and answers in parts (V9)", function()
		local payload = "\x24echo" .. "\x25" .. u32(70000) .. ("Q"):rep(70000)
		local total = #payload
		kit.write(fd, frame("\x81\5@echo" .. u32(9) .. u32(total))
			.. frame("\2" .. u32(9) .. payload:sub(1, 0x8000))
			.. frame("\2" .. u32(9) .. payload:sub(0x8001, 0x10000))
			.. frame("\3" .. u32(9) .. payload:sub(0x10001)), 10)
		assert.equal(hex(u32(9) .. "\2" .. u32(70005)), hex(receive(fd)))
		local parts = {}
		for i = 1, 3 do
			local body = receive(fd)
			assert.equal(i == 3 and 4 or 3, body:byte(5))
			parts[i] = body:sub(6)
		end
		assert.equal(payload:sub(6), table.concat(parts))
	end)

	it("takes frames byte by byte and several in one segment", function()
		local bytes = frame("\x80\5@echo" .. u32(20) .. "\x24echo\x09")
		for i = 1, #bytes do
			kit.write(fd, bytes:sub(i, i), 10)
		end
		assert.equal("140000000109", hex(receive(fd)))
		kit.write(fd, bytes:rep(3), 10)
		for _ = 1, 3 do
			assert.equal("140000000109", hex(receive(fd)))
		end
	end)

	it("takes parts in pieces", function()
		local payload = "\x24echo" .. "\x25" .. u32(70000) .. ("R"):rep(69999) .. "S"
		local bytes = frame("\x81\5@echo" .. u32(21) .. u32(#payload))
			.. frame("\2" .. u32(21) .. payload:sub(1, 40000))
			.. frame("\x80\5@echo" .. u32(22) .. "\x24echo\x09")
			.. frame("\2" .. u32(21) .. payload:sub(40001, 40001)) .. frame("\2" .. u32(21))
			.. frame("\3" .. u32(21) .. payload:sub(40002))
		math.randomseed(21)
		local from = 1
		while from <= #bytes do
			local n = math.random() < 0.5 and math.random(1, 9) or math.random(1, 9000)
			kit.write(fd, bytes:sub(from, from + n - 1), 10)
			from = from + n
		end
		assert.equal("160000000109", hex(receive(fd)))
		assert.equal(hex(u32(21) .. "\2" .. u32(70005)), hex(receive(fd)))
		local answer = ""
		for _ = 1, 3 do
			answer = answer .. receive(fd):sub(6)
		end
		assert.equal(payload:sub(6), answer)
	end)

	it("answers thousands of queries that come at once", function()
		local c, n = open(), 4000
		local bytes = {}
		for i = 1, n do
			bytes[i] = frame("\0\0\0\0\0" .. u32(i) .. "\x24echo\x09\x09\x09\x09\x09\x09")
		end
		kit.write(c, table.concat(bytes), 10)
		for i = 1, n do
			assert.equal(u32(i) .. "\1\x0a\x0a", receive(c))
		end
		kit.close(c)
		assert.is_true(alive())
	end)

	it("answers odd but decodable requests", function()
		-- no harbor: a plain name is nobody's
		assert.equal(hex(u32(21) .. "\0Invalid name"),
			exchange(frame("\x80\5plain" .. u32(21) .. "\x24echo")))
		-- an empty name, and @ alone
		assert.equal(hex(u32(22) .. "\0Invalid name"), exchange(frame("\x80\0" .. u32(22) .. "\x24echo")))
		assert.equal(hex(u32(23) .. "\0Invalid name"), exchange(frame("\x80\1@" .. u32(23) .. "\x24echo")))
		-- queries for what is no name
		for i, payload in ipairs { "", "\0", "\x09", "\6\0", "\7garbage" } do
			assert.equal(hex(u32(30 + i) .. "\0name not found"),
				exchange(frame("\0" .. u32(0) .. u32(30 + i) .. payload)))
		end
		-- a session with all bits set comes back
		assert.equal("ffffffff0109", exchange(frame("\x80\5@echo\255\255\255\255\x24echo\x09")))
		-- a total that isn't reached
		kit.write(fd, frame("\x81\5@echo" .. u32(40) .. u32(100)) .. frame("\3" .. u32(40) .. "abcde"), 10)
		assert.equal(hex(u32(40) .. "\0Invalid large req"), hex(receive(fd)))
	end)

	it("refuses serialised data that could do harm", function()
		for i, payload in ipairs {
			"\x24echo\3" .. ("\0"):rep(8), -- light userdata
			"\x24echo" .. ("\x0e"):rep(5000), -- deep
			"\x24echo\xfe\x22\xff\xff\xff\x7f\0", -- a count that lies
			"\x24echo\x25\255\255\255\255x", -- a length that lies
			"\7",
		} do
			local body = exchange(frame("\x80\5@echo" .. u32(50 + i) .. payload))
			assert.equal(hex(u32(50 + i) .. "\0"), body:sub(1, 10))
		end
		assert.is_true(alive())
	end)

	local violations = {
		["an empty frame"] = "\0\0",
		["an unknown type"] = frame "\5abc",
		["a request that is cut"] = frame "\0\1\2\3",
		["a begin frame of a wrong size"] = frame("\1" .. ("\1"):rep(13)),
		["a part that never began"] = frame("\3" .. u32(9) .. "x"),
		["a part without session"] = frame "\2ab",
		["a part that exceeds the announced size"] = frame("\x81\5@echo" .. u32(9) .. u32(2))
			.. frame("\3" .. u32(9) .. "abcde"),
		["two begins of one session"] = frame("\x81\5@echo" .. u32(9) .. u32(2)):rep(2),
		["a size of 4 GiB"] = frame("\x81\5@echo" .. u32(9) .. "\255\255\255\255"),
		["more announced bytes than are allowed in all"] = (function()
			local all = {}
			for i = 1, 6 do -- each is as large as one may be
				all[i] = frame("\x81\5@echo" .. u32(i) .. u32(1 << 20))
			end
			return table.concat(all)
		end)(),
		["too many unfinished requests"] = (function()
			local all = {}
			for i = 1, 20 do
				all[i] = frame("\x81\5@echo" .. u32(i) .. u32(100))
			end
			return table.concat(all)
		end)(),
	}

	for name, bytes in pairs(violations) do
		it("closes the link after " .. name .. ", with one log line", function()
			local c = open()
			server.text = ""
			kit.write(c, bytes, 10)
			assert.is_true(closed(c))
			kit.close(c)
			server:expect "broke the protocol, the link is closed"
			local _, lines = server.text:gsub("broke the protocol", "")
			assert.equal(1, lines)
			assert.is_true(alive())
		end)
	end

	it("gives up a large request that doesn't arrive in time", function()
		local n = node.start { start = "clusternode", cluster_partial_time = 1, luaservice = path }
		local c = assert(kit.connect(tonumber((n:expect "port (%d+)"))))
		local session, late = 0, nil
		node.eventually(function() -- it looks when the next one begins
			session = session + 1
			kit.write(c, frame("\x81\5@echo" .. u32(session) .. u32(100)), 10)
			late = receive(c, 0.3)
			return late
		end)
		-- the first, or another that was late by then
		assert.equal("\0Invalid large req (it took too long)", late:sub(5))
		kit.close(c)
		n:kill()
	end)

	it("survives random bytes", function()
		math.randomseed(7)
		for _ = 1, 50 do
			local c = open()
			local bytes = {}
			for i = 1, 200 do
				bytes[i] = string.char(math.random(0, 255))
			end
			kit.write(c, table.concat(bytes), 10)
			kit.close(c)
		end
		assert.is_true(alive())
	end)
end) end
