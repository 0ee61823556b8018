-- WebSockets over real sockets: bytes, handshakes, hostile peers, closing.

local core = require "http.core"
local httpd = require "http.httpd"
local skynet = require "skynet"
local socket = require "skynet.socket"
local sockethelper = require "http.sockethelper"
local web = require "web"
local websocket = require "http.websocket"

local KEY = "dGhlIHNhbXBsZSBub25jZQ=="

-- A server whose handler's calls are kept; what accept returned is in seen.result.
local function serve(handler, options, protocol)
	local seen = {}
	local handle = {}
	for _, name in ipairs { "connect", "handshake", "message", "ping", "pong", "close", "error" } do
		handle[name] = function(id, ...)
			seen[#seen + 1] = { name, ... }
			seen[name] = { id, ... }
			if handler and handler[name] then
				handler[name](id, ...)
			end
		end
	end
	return web.listen(function(id, address)
		seen.result = table.pack(websocket.accept(id, handle, protocol or "ws", address, options))
	end), seen
end

local echo = {
	message = function(id, data, format)
		websocket.write(id, data, format)
	end,
}

local function request(more)
	return "GET /path?q HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
		.. "Sec-WebSocket-Key: " .. KEY .. "\r\nSec-WebSocket-Version: 13\r\n" .. (more or "") .. "\r\n"
end

-- A client that speaks in bytes.
local function raw(port, more)
	local id = socket.open("127.0.0.1", port)
	socket.write(id, request(more))
	local head = socket.readline(id, "\r\n\r\n")
	return id, head
end

local function hex(bytes)
	return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

-- Send bytes after a handshake; returns what the server sends until it closes.
local function talk(port, bytes)
	local id = raw(port)
	socket.write(id, bytes)
	local answer = socket.readall(id) or ""
	socket.close(id)
	return answer
end

local function close_code(answer)
	assert(answer:byte(1) == 0x88, hex(answer))
	return (string.unpack(">I2", answer, 3))
end

local function masked(op, payload)
	return core.frame(op, payload, 0x01020304)
end

describe("a frame", function()
	it("has the documented bytes", function()
		assert.equal("81026869", hex(core.frame(1, "hi")))
		assert.equal("820362696e", hex(core.frame(2, "bin")))
		assert.equal("827f0000000000011170", hex(core.frame(2, ("x"):rep(70000)):sub(1, 10)))
		assert.equal("827e0100", hex(core.frame(2, ("x"):rep(256)):sub(1, 4)))
		assert.equal("818301020304606060", hex(core.frame(1, "abc", 0x01020304)))
		assert.equal("8800", hex(core.frame(8, "")))
		assert.equal("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", core.accept(KEY))
	end)

	it("comes back as it was, at every length and mask", function()
		for _, n in ipairs { 0, 1, 2, 3, 7, 8, 9, 15, 125, 126, 127, 65535, 65536, 100000 } do
			local payload = ("0123456789abcdef"):rep(n // 16 + 1):sub(1, n)
			for _, mask in ipairs { false, 0, 0xffffffff, 0x80000001 } do
				local bytes = core.frame(2, payload, mask or nil)
				local op, fin, data, at, was = core.parse("xx" .. bytes .. "yy", 3, 1 << 20)
				assert.same({ 2, true, #bytes + 3, mask ~= false }, { op, fin, at, was })
				assert(data == payload)
				assert.is_nil((core.parse(bytes:sub(1, -2), 1, 1 << 20)))
			end
		end
	end)

	it("is refused by its header", function()
		local function refused(bytes, limit)
			local op, code = core.parse(bytes, 1, limit or 1000)
			return op == false and code
		end
		assert.equal(1009, refused "\x82\x7e\x03\xe9")
		assert.equal(1009, refused "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff")
		assert.equal(1009, refused("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", math.maxinteger))
		assert.equal(1009, refused("\x82\x7f\x80\0\0\0\0\0\0\0", math.maxinteger))
		assert.equal(1002, refused "\xc1\0")
		assert.equal(1002, refused "\x83\0")
		assert.equal(1002, refused "\x8b\0")
		assert.equal(1002, refused "\x09\0")
		assert.equal(1002, refused "\x89\x7e\0\0")
	end)

	it("knows UTF-8", function()
		for _, s in ipairs { "", "plain ascii, long enough for words",
			"\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}",
			"\xed\x9f\xbf\xee\x80\x80", "12345678\u{20ac}" } do
			assert.is_true(core.utf8(s))
		end
		for _, s in ipairs { "\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xed\xa0\x80",
			"\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "abcdefgh\xe2\x82", "\xe2\x28\xa1", "12345678\xc3" } do
			assert.is_false(core.utf8(s), hex(s))
		end
	end)
end)

describe("the answer to a key", function()
	it("is right for every length of the last SHA-1 block", function()
		for n, expected in pairs {
			[0] = "Kfh9QIsMVZcl6xEPYxPHzW8SZ8w=",
			[19] = "yzaGyu0mcUukN7CdsSwa30tnCpc=",
			[20] = "dUYRM7bOMwDmbriNIPr11x+r3E0=",
			[27] = "NCEiOv6lMC9mC8oEZnneqRdJ4DU=",
			[28] = "xMWmCBqYJY4uXzUs8PNU1t+Pzro=",
			[29] = "m8kT+K/C9sp8j44+NnEexy4o+Tg=",
			[64] = "jGdebzmm20QI0DmM5dGETWg7dwQ=",
			[92] = "QozTWdJkJ6Mr6+QwqAHt8yNpBdc=",
			[100] = "+taVhj8zzaJPYE6HHo1ugamK/Ug=",
			[1000] = "5NTUoiakd6SVWIqWDPiPpuZdCmI=",
		} do
			assert.equal(expected, core.accept(("a"):rep(n)))
		end
	end)

	it("belongs to a key that is new each time", function()
		local seen = {}
		for _ = 1, 1000 do
			local key = core.key()
			assert.truthy(key:find "^[%w+/]+==$" and #key == 24 and not seen[key])
			seen[key] = true
		end
		local masks, different = {}, 0
		for _ = 1, 1000 do
			local mask = core.mask()
			assert(mask >= 0 and mask <= 0xffffffff)
			different = different + (masks[mask] and 0 or 1)
			masks[mask] = true
		end
		assert(different > 990)
	end)
end)

describe("websocket.accept", function()
	after_each(web.stop)

	it("answers the handshake with the documented bytes", function()
		local port, seen = serve(echo)
		local id, head = raw(port, "Sec-WebSocket-Protocol: other, chat\r\nX-Real-IP: 10.1.2.3\r\n")
		assert.equal("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
			.. "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat", head)
		web.eventually(function() return seen.handshake end)
		assert.equal("connect", seen[1][1])
		assert.equal("/path?q", seen.handshake[3])
		assert.equal("10.1.2.3", seen.handshake[2]["x-real-ip"])
		local server = seen.handshake[1]
		assert.equal("10.1.2.3", websocket.real_ip(server))
		assert.equal("chat", websocket.subprotocol(server))
		assert.truthy(websocket.addrinfo(server):find "^127.0.0.1:%d+$")
		assert.is_false(websocket.is_close(server))
		socket.close(id)
		web.eventually(function() return seen.result end)
		assert.is_true(websocket.is_close(server))
		assert.has_error(function() websocket.write(server, "x") end, "assertion failed!")
	end)

	it("refuses what isn't a handshake", function()
		local port, seen = serve(echo, { origins = { "https://good" } })
		local function answer(bytes)
			return web.talk(port, bytes):gsub("\r\n.*\r\n\r\n", " / ")
		end
		local function without(name)
			return (request "Origin: https://good\r\n":gsub(name .. "[^\r]*\r\n", ""))
		end
		local good = request "Origin: https://good\r\n"
		assert.equal("HTTP/1.1 400 Bad Request / need GET method", (answer(good:gsub("GET", "POST"))))
		assert.truthy(answer(good:gsub("HTTP/1.1", "HTTP/1.0")):find "^HTTP/1.1 505 ")
		assert.equal("HTTP/1.1 426  / Upgrade Required", (answer(without "Upgrade:")))
		assert.equal("HTTP/1.1 400 Bad Request / host Required", (answer(without "Host")))
		assert.equal("HTTP/1.1 400 Bad Request / Connection must Upgrade", (answer(without "Connection")))
		assert.equal("HTTP/1.1 400 Bad Request / Sec-WebSocket-Key Required",
			(answer(without "Sec%-WebSocket%-Key")))
		assert.equal("HTTP/1.1 400 Bad Request / Sec-WebSocket-Key invalid",
			(answer(good:gsub("dGhlIHNhbXBsZSBub25jZQ==", "short"))))
		assert.equal("HTTP/1.1 400 Bad Request / Sec-WebSocket-Version must 13", (answer(good:gsub(": 13", ": 8"))))
		assert.equal("HTTP/1.1 400 Bad Request / Sec-WebSocket-Protocol need include chat",
			(answer(request "Origin: https://good\r\nSec-WebSocket-Protocol: a, b\r\n")))
		assert.equal("HTTP/1.1 403 Forbidden / Origin not allowed", (answer(request "Origin: https://evil\r\n")))
		assert.equal("HTTP/1.1 403 Forbidden / Origin not allowed", (answer(request())))
		assert.truthy(answer(request("X: " .. ("y"):rep(9000) .. "\r\n")):find "^HTTP/1.1 413 ")
		assert.same({ true, n = 1 }, seen.result)
		assert.is_nil(seen.handshake)
		assert.equal(1, #seen.close)
		answer "nonsense\r\n\r\n"
		web.eventually(function() return seen.result[1] == false end)
		assert.has_error(function() websocket.accept(1, {}, "http") end)
	end)

	it("echoes text, binary and fragments; answers pings", function()
		local port, seen = serve(echo)
		local id = raw(port)
		socket.write(id, masked(1, "hi") .. core.frame(2, "unmasked") .. masked(9, "ping"))
		assert.equal("81026869" .. "8208" .. hex "unmasked" .. "8a0470696e67", hex(socket.read(id, 20)))
		socket.write(id, "\x01\x02ab" .. "\x89\0" .. "\0\0" .. "\0\x01c" .. "\x80\x01d" .. "\x8a\0")
		assert.equal("8a00" .. "8104" .. hex "abcd", hex(socket.read(id, 8)))
		web.eventually(function() return seen.pong end)
		-- a byte at a time
		for c in masked(1, ("z"):rep(200)):gmatch "." do
			socket.write(id, c)
		end
		assert.equal("817e00c8" .. hex(("z"):rep(200)), hex(socket.read(id, 204)))
		assert.equal("ping", seen.ping[2] == "" and "ping")
		socket.close(id)
	end)

	it("answers only the last of many pings", function()
		local port = serve(echo)
		local id = raw(port)
		socket.write(id, (masked(9, "old")):rep(2000) .. masked(9, "new") .. masked(8, ""))
		local answer = socket.readall(id)
		assert(#answer < 2000, #answer)
		assert.truthy(answer:find "\x8a\x03new\x88\0$")
		socket.close(id)
	end)

	it("reports closing, and answers it", function()
		local port, seen = serve(echo)
		local function closing(payload)
			seen.close, seen.result = nil, nil
			local answer = talk(port, masked(8, payload))
			web.eventually(function() return seen.result end)
			assert.is_true(seen.result[1])
			return hex(answer), table.unpack(seen.close, 2, 3)
		end
		assert.same({ "8800" }, { closing "" })
		assert.same({ "880203e8", 1000, "" }, { closing "\x03\xe8" })
		assert.same({ "88020fa0", 4000, "bye" }, { closing "\x0f\xa0bye" })
	end)

	it("refuses violations with a close code, and tells the handler", function()
		local port, seen = serve(echo, { max_payload = 1000 })
		local function refused(bytes)
			seen.error, seen.result = nil, nil
			local code = close_code(talk(port, bytes))
			web.eventually(function() return seen.result end)
			assert.is_false(seen.result[1])
			assert.equal(seen.result[2], seen.error[2])
			return code, seen.result[2]
		end
		assert.same({ 1009, "payload_len is too large" }, { refused(masked(1, ("x"):rep(1001))) })
		assert.same({ 1009, "payload_len is too large" }, { refused "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff" })
		assert.same({ 1009, "payload_len is too large" },
			{ refused("\x02\x7e\x03\xe8" .. ("x"):rep(1000) .. "\x80\x01y") })
		assert.equal(1002, (refused "\x83\0"))
		assert.equal(1002, (refused "\xf1\0"))
		assert.equal(1002, (refused "\x80\0"))
		assert.equal(1002, (refused "\x01\x01a\x81\x01b"))
		assert.equal(1002, (refused "\x09\x01a"))
		assert.equal(1002, (refused(masked(9, ("x"):rep(126)))))
		assert.equal(1007, (refused(masked(1, "\xff"))))
		assert.equal(1007, (refused "\x01\x01\xe2\x80\x01\x82"))
		assert.equal(1002, (refused(masked(8, "\x03"))))
		assert.equal(1007, (refused(masked(8, "\x03\xe8\xff"))))
		for _, code in ipairs { 0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535 } do
			assert.equal(1002, (refused(masked(8, string.pack(">I2", code)))))
		end
	end)

	it("is as strict as the RFC when asked to, and lenient with text when asked to", function()
		local port = serve(echo, { strict = true })
		assert.equal(1002, close_code(talk(port, core.frame(1, "hi"))))
		port = serve(echo, { utf8 = false })
		local id = raw(port)
		socket.write(id, masked(1, "\xff"))
		assert.equal("8101ff", hex(socket.read(id, 3)))
		socket.close(id)
	end)

	it("isn't impressed by floods of empty and tiny fragments", function()
		local port, seen = serve()
		local id = raw(port)
		socket.write(id, "\x01\0")
		for _ = 1, 100 do
			socket.write(id, ("\0\0"):rep(10000))
			socket.write(id, ("\0\x01x"):rep(1000))
		end
		socket.write(id, "\x80\0" .. masked(8, ""))
		socket.readall(id)
		assert.equal(("x"):rep(100000), seen.message[2])
		socket.close(id)
	end)

	it("drops peers that are silent in a handshake or a frame", function()
		local ended = 0
		local port = web.listen(function(id)
			websocket.accept(id, {}, "ws", nil, { timeout = 20 })
			ended = ended + 1
		end)
		local a = socket.open("127.0.0.1", port)
		socket.write(a, "GET / HT")
		local b = raw(port)
		socket.write(b, "\x82\xfe\x01")
		local c = raw(port)
		socket.write(c, masked(1, "whole"))
		web.eventually(function() return ended == 2 end)
		skynet.sleep(30)
		assert.equal(2, ended)
		for _, id in ipairs { a, b, c } do
			socket.close(id)
		end
	end)

	it("drops a peer that doesn't read", function()
		local port, seen = serve({ message = function(id)
			while true do
				websocket.write(id, ("x"):rep(100000))
				skynet.yield()
			end
		end }, { max_pending = 2048 })
		local id = raw(port)
		socket.pause(id)
		socket.write(id, masked(1, "go"))
		web.eventually(function() return seen.result end)
		assert.equal(sockethelper.socket_error, seen.error[2])
		socket.close(id)
	end)

	it("pings silent peers, and drops dead ones", function()
		local port, seen = serve(nil, { heartbeat = 10 })
		local id = raw(port)
		assert.equal("8900", hex(socket.read(id, 2)))
		web.eventually(function() return seen.result end)
		assert.equal(sockethelper.socket_error, seen.error[2])
		socket.close(id)
	end)

	it("tells when the peer vanishes, at whatever byte", function()
		local bytes = request() .. masked(1, "hello")
		for i = 1, #bytes, 7 do
			local port, seen = serve(echo)
			local id = socket.open("127.0.0.1", port)
			socket.write(id, bytes:sub(1, i))
			socket.close(id)
			web.eventually(function() return seen.result end)
			assert.is_true(seen.result[1])
			assert.equal(sockethelper.socket_error, seen.error[2])
			web.stop()
		end
	end)

	it("returns a handler's error, and closes with 1011", function()
		local port, seen = serve { message = function() error "on purpose" end }
		assert.equal(1011, close_code(talk(port, masked(1, "x"))))
		web.eventually(function() return seen.result end)
		assert.is_false(seen.result[1])
		assert.truthy(seen.result[2]:find "on purpose")
		assert.truthy(seen.result[2]:find "traceback")
	end)

	it("can be closed by the service, inside and outside of a handler", function()
		local port, seen = serve { message = function(id)
			websocket.close(id, 1001, "bye")
			websocket.close(id)
		end }
		assert.equal("880503e9627965", hex(talk(port, masked(1, "x"))))
		web.eventually(function() return seen.result end)
		assert.same({ true, n = 1 }, seen.result)
		assert.equal(1, #seen.close)
		seen.handshake = nil
		local id = raw(port)
		web.eventually(function() return seen.handshake end)
		seen.result, seen.close = nil, nil
		websocket.close(seen.handshake[1])
		assert.equal("8800", hex(socket.readall(id)))
		web.eventually(function() return seen.result end)
		assert.same({ 1, true }, { #seen.close, seen.result[1] })
		socket.close(id)
		websocket.close(123456)
	end)

	it("takes over a request that httpd has read", function()
		local got
		local port = web.listen(function(id, address)
			socket.start(id)
			local code, url, method, header = httpd.read_request(sockethelper.readfunc(id))
			assert(code == 200)
			websocket.accept(id, { message = function(_, data) got = data end }, "ws", address,
				{ upgrade = { url = url, method = method, header = header } })
		end)
		talk(port, masked(1, "taken") .. masked(8, ""))
		assert.equal("taken", got)
		port = web.listen(function(id)
			httpd.serve(id, function(req)
				websocket.accept(id, echo, "ws", nil, { upgrade = req })
				return false
			end)
		end)
		assert.equal(hex(core.frame(1, "x")) .. "8800", hex(talk(port, masked(1, "x") .. masked(8, ""))))
	end)
end)

describe("websocket.connect", function()
	after_each(web.stop)

	local function connect(port, ...)
		return websocket.connect(("ws://127.0.0.1:%d/chat"):format(port), ...)
	end

	it("talks with a server, masked", function()
		local port, seen = serve(echo)
		local id = connect(port, { ["x-more"] = "1" }, 500)
		assert.equal("127.0.0.1:" .. port, websocket.addrinfo(id))
		for _, data in ipairs { "", "text", ("long"):rep(10000) } do
			websocket.write(id, data)
			assert.equal(data, websocket.read(id))
		end
		websocket.write(id, "\xff\0", "binary")
		assert.equal("\xff\0", websocket.read(id, 500))
		websocket.ping(id, "p")
		websocket.write(id, "x")
		assert.equal("x", websocket.read(id))
		assert.same({ "1", "127.0.0.1:" .. port }, { seen.handshake[2]["x-more"], seen.handshake[2].host })
		assert.equal("/chat", seen.handshake[3])
		assert.has_error(function() websocket.write(id, "x", "json") end)
		websocket.close(id, 1000)
		assert.is_true(websocket.is_close(id))
		assert.has_error(function() websocket.read(id) end, "assertion failed!")
		web.eventually(function() return seen.close and seen.close[2] == 1000 end)
	end)

	it("masks with what it's given, or at random", function()
		local bytes
		local port = web.listen(function(id)
			socket.start(id)
			local key = socket.readline(id, "\r\n\r\n"):match "Sec%-WebSocket%-Key: (%S+)"
			socket.write(id, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
				.. "Sec-WebSocket-Accept: " .. core.accept(key) .. "\r\n\r\n\x81\x05early\x89\x01p")
			bytes = socket.readall(id)
			socket.close(id)
		end)
		local id = connect(port)
		websocket.write(id, "abc", "text", 0x01020304)
		websocket.write(id, "abc")
		websocket.write(id, "abc")
		assert.equal("early", websocket.read(id))
		skynet.fork(function() pcall(websocket.read, id) end)
		skynet.sleep(5)
		websocket.close(id)
		web.eventually(function() return bytes end)
		assert.equal("818301020304606060", hex(bytes:sub(1, 9)))
		assert.equal("8183", hex(bytes:sub(10, 11)))
		assert.not_equal(bytes:sub(12, 15), bytes:sub(21, 24))
		assert.equal("8a81", hex(bytes:sub(28, 29)))
	end)

	it("returns what the peer closes with", function()
		local port = serve { message = function(id) websocket.close(id, 4001, "why") end }
		local id = connect(port)
		websocket.write(id, "x")
		assert.same({ false, "\x0f\xa1why" }, { websocket.read(id) })
		assert.is_true(websocket.is_close(id))
	end)

	it("says why it can't connect", function()
		local function why(answer, header)
			local port = type(answer) == "number" and answer or web.canned(answer)
			local ok, err = pcall(connect, port, header, 500)
			assert.is_false(ok)
			return tostring(err)
		end
		local function not_101(more)
			return "HTTP/1.1 101 X\r\n" .. more .. "\r\n"
		end
		local up = "Upgrade: websocket\r\nConnection: Upgrade\r\n"
		assert.truthy(why "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno"
			:find("websocket handshake error: code[403] info:no", 1, true))
		assert.truthy(why(not_101 ""):find "websocket handshake upgrade must websocket")
		assert.truthy(why(not_101 "Upgrade: websocket\r\n"):find "websocket handshake connection must upgrade")
		assert.truthy(why(not_101(up)):find "websocket handshake need Sec%-WebSocket%-Accept")
		assert.truthy(why(not_101(up .. "Sec-WebSocket-Accept: x\r\n"))
			:find "websocket handshake invalid Sec%-WebSocket%-Accept")
		local cut = why ""
		assert.truthy(cut:find "Socket Error" or cut:find "closed", cut)
		assert.truthy(why(1):find "connect failed host = 127.0.0.1 port = 1")
		assert.truthy(why(1, { Upgrade = "x" }):find "Upgrade")
		local ok, err = pcall(websocket.connect, "http://127.0.0.1/")
		assert.truthy(not ok and err:find "invalid protocol: nil")
	end)

	it("ends at its deadlines", function()
		local mute = web.listen(function(id) socket.start(id) end)
		local ok, err = pcall(connect, mute, nil, 20)
		assert.same({ false, sockethelper.socket_error }, { ok, err })
		local port = serve()
		local id = connect(port, nil, 500)
		ok, err = pcall(websocket.read, id, 20)
		assert.same({ false, sockethelper.socket_error }, { ok, err })
		assert.is_true(websocket.is_close(id))
	end)

	it("limits what a server sends", function()
		local port = serve { handshake = function(id) websocket.write(id, ("x"):rep(2000), "binary") end }
		local id = connect(port, nil, 500, { max_payload = 1000 })
		local ok, err = pcall(websocket.read, id)
		assert.is_false(ok)
		assert.equal("payload_len is too large", err)
		assert.is_true(websocket.is_close(id))
	end)

	it("works over TLS", function()
		require "ltls.init.c".constructor()
		local dir = require "certs".make(os.getenv "TEST_TMP" .. "/wss_certs", "localhost")
		local port, seen = serve(echo, { certfile = dir .. "/localhost.pem", keyfile = dir .. "/localhost.key" },
			"wss")
		local url = ("wss://localhost:%d/"):format(port)
		local ok, err = pcall(websocket.connect, url, nil, 500)
		assert.truthy(not ok and err:find "certificate verify failed")
		web.eventually(function() return seen.result end) -- the server saw it, too
		seen.result = nil
		local id = websocket.connect(url, nil, 500, { verify = false })
		local data = ("0123456789"):rep(20000)
		websocket.write(id, data, "binary")
		assert.equal(data, websocket.read(id, 500))
		websocket.close(id, 1000)
		web.eventually(function() return seen.result end)
		assert.same({ true, 1000 }, { seen.result[1], seen.close[2] })
		seen.result = nil
		web.talk(port, "this isn't TLS\r\n\r\n")
		web.eventually(function() return seen.result end)
		assert.is_false(seen.result[1])
		assert.truthy(seen.result[2]:find "SSL_do_handshake error")
	end)
end)
