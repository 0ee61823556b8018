-- The client over real sockets: bytes, framings, time limits, keep-alive, streams.

local httpc = require "http.httpc"
local httpd = require "http.httpd"
local skynet = require "skynet"
local socket = require "skynet.socket"
local sockethelper = require "http.sockethelper"
local web = require "web"

local function host(port)
	return "127.0.0.1:" .. port
end

-- A server that keeps what it receives up to a blank line, and answers with fixed bytes.
local function recorder(answer)
	local seen = {}
	return web.listen(function(id)
		socket.start(id)
		seen.head = socket.readline(id, "\r\n\r\n") or ""
		local n = tonumber(seen.head:match "[Cc]ontent%-length:(%d+)") or 0
		seen.body = n > 0 and socket.read(id, n) or ""
		socket.write(id, answer or "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
		socket.close(id)
	end), seen
end

describe("httpc.request", function()
	after_each(function()
		web.stop()
		httpc.timeout, httpc.keepalive = nil, nil
	end)

	it("sends the documented bytes", function()
		local port, seen = recorder()
		assert.same({ 200, "ok" }, { httpc.get(host(port), "/ok") })
		assert.equal(("GET /ok HTTP/1.1\r\nhost:127.0.0.1:%d\r\nContent-length:0"):format(port), seen.head)
	end)

	it("sends header, content and forms; the caller's table stays as it is", function()
		local port, seen = recorder()
		local header = { ["x-a"] = { "1", "2" } }
		httpc.request("PUT", host(port), "/a b", nil, header, "content")
		assert.same({ ["x-a"] = { "1", "2" } }, header)
		assert.equal("content", seen.body)
		assert.truthy(seen.head:find("PUT /a%20b HTTP/1.1\r\n", 1, true))
		assert.truthy(seen.head:find "x%-a:1\r\nx%-a:2")
		assert.truthy(seen.head:find("Host:" .. host(port), 1, true))
		httpc.get(host(port), "/", nil, { host = "other" })
		assert.truthy(seen.head:find "host:other")
		assert.is_nil(seen.head:find "Host:")
		httpc.post(host(port), "/", { ["a b"] = "c&d" })
		assert.equal("a%20b=c%26d", seen.body)
		assert.truthy(seen.head:find "content%-type:application/x%-www%-form%-urlencoded")
	end)

	it("refuses header injection", function()
		local port = recorder()
		assert.has_error(function() httpc.get(host(port), "/", nil, { a = "b\r\nc: d" }) end)
		assert.has_error(function() httpc.get(host(port), "/ HTTP/1.1\r\nc: d") end)
		assert.has_error(function() httpc.request("GET / HTTP/1.1\r\n", host(port), "/") end)
	end)

	it("reads every framing", function()
		local function body(bytes)
			local header = {}
			local status, content = httpc.get(host(web.canned(bytes)), "/", header)
			return status, content, header
		end
		assert.same({ 200, "until close", {} }, { body "HTTP/1.1 200 OK\r\n\r\nuntil close" })
		assert.same({ 200, "abc", { ["transfer-encoding"] = "Chunked", t = "1" } }, {
			body "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nT: 1\r\n\r\nx" })
		assert.equal("ab", (select(2, body "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc")))
		assert.equal("", (select(2, body "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nab")))
		assert.same({ 200, "ok" }, { body("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\na: b\r\n\r\n"
			.. "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok") , "ok" })
		local port = web.canned("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true)
		assert.equal(200, httpc.head(host(port), "/"))
	end)

	it("reaches IPv6 addresses", function()
		local id, _, port = socket.listen("::1", 0)
		socket.start(id, function(client)
			skynet.fork(httpd.serve, client, function(request)
				return 200, request.header.host
			end)
		end)
		assert.same({ 200, "[::1]:" .. port }, { httpc.get("[::1]:" .. port, "/") })
		socket.close(id)
	end)

	it("says what is wrong with a response", function()
		local function why(bytes)
			local ok, err = pcall(httpc.get, host(web.canned(bytes)), "/")
			assert.is_false(ok)
			return tostring(err)
		end
		assert.truthy(why "nonsense\r\n\r\n":find "Invalid HTTP response header")
		assert.truthy(why(("x"):rep(100000)):find "Recv header failed")
		assert.truthy(why "HTTP/1.1 200 OK\r\nTransfer-Encoding: br\r\n\r\n":find "Unsupport transfer%-encoding")
		local malformed = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
		assert.truthy(why(malformed):find "Invalid response body")
		assert.truthy(why "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab":find "Socket Error")
		assert.truthy(why "":find "%[Socket Error%] : read failed fd = %d+")
	end)

	it("limits bodies", function()
		httpc.body_limit = 10
		for _, answer in ipairs { "HTTP/1.1 200 OK\r\n\r\n" .. ("x"):rep(11),
			"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n" .. ("x"):rep(11),
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n" .. ("x"):rep(11) } do
			local ok, err = pcall(httpc.get, host(web.canned(answer)), "/")
			assert.is_false(ok)
			assert.truthy(tostring(err):find "Invalid response body")
		end
		httpc.body_limit = nil
	end)

	it("parses hosts", function()
		local port, seen = recorder()
		httpc.get("HTTP://127.0.0.1:" .. port, "/")
		assert.truthy(seen.head:find("host:127.0.0.1:" .. port, 1, true))
		local function why(name)
			local ok, err = pcall(httpc.get, name, "/")
			assert.is_false(ok)
			return err
		end
		assert.truthy(why "::1":find("Invalid host: bare IPv6 address '::1', use '[::1]' instead", 1, true))
		assert.truthy(why "ftp://x":find "Invalid protocol: ftp")
		assert.truthy(why "a/b":find "Invalid host")
		assert.truthy(tostring(why "127.0.0.1:1"):find("connect failed host = 127.0.0.1 port = 1", 1, true))
	end)

	it("ends at its deadline", function()
		local port = web.listen(function(id) socket.start(id) end)
		local function late(f, ...)
			local begin = skynet.now()
			local ok, err = pcall(f, ...)
			assert.is_false(ok)
			assert.equal(sockethelper.socket_error, err)
			assert.truthy(tostring(err):find "read failed fd")
			assert(skynet.now() - begin >= 19)
		end
		late(httpc.request, "GET", host(port), "/", nil, nil, nil, 20)
		httpc.timeout = 20
		late(httpc.get, host(port), "/")
		late(httpc.get, host(web.canned("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", true)), "/")
		late(httpc.get, host(web.canned("HTTP/1.1 200 OK\r\n\r\nab", true)), "/")
		late(httpc.get, host(web.canned(
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", true)), "/")
	end)

	it("reuses connections with httpc.keepalive", function()
		httpc.keepalive = 3000
		local connections = 0
		local port = web.listen(function(id)
			connections = connections + 1
			httpd.serve(id, function(request)
				return 200, request.body
			end, { requests = 5 })
		end)
		for i = 1, 10 do
			assert.same({ 200, "n" .. i }, { httpc.request("POST", host(port), "/", nil, nil, "n" .. i) })
		end
		assert.equal(2, connections)
		for _ in httpc.request_stream("GET", host(port), "/") do end -- luacheck: ignore
		assert.equal(200, (httpc.get(host(port), "/")))
		assert.equal(3, connections)
	end)

	it("sends a safe request again when the server closed a waiting connection", function()
		httpc.keepalive = 3000
		local asked, answered = 0, 0
		local port = web.listen(function(id)
			socket.start(id)
			while socket.readline(id, "\r\n\r\n") do
				asked = asked + 1
				if asked == 2 then
					break
				end
				socket.write(id, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
				answered = answered + 1
			end
			socket.close(id)
		end)
		assert.equal(200, (httpc.get(host(port), "/")))
		assert.equal(200, (httpc.get(host(port), "/")))
		assert.same({ 3, 2 }, { asked, answered })
	end)
end)

describe("httpc.request_stream", function()
	after_each(web.stop)

	local function collect(bytes, keep_open)
		local pieces = {}
		local stream = httpc.request_stream("GET", host(web.canned(bytes, keep_open)), "/")
		for piece, s in stream do
			assert.equal(stream, s)
			pieces[#pieces + 1] = piece
		end
		return pieces, stream
	end

	it("gives chunks one by one, and an empty one at the end", function()
		local pieces, stream = collect(
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nT: 1\r\n\r\n", true)
		assert.same({ "ab", "c", "" }, pieces)
		assert.is_nil(stream.connected)
		assert.same({ 200, "1" }, { stream.status, stream.header.t })
		assert.is_nil(stream:padding())
		stream:close()
	end)

	it("ends cleanly with the connection when there's no length", function()
		local pieces, stream = collect "HTTP/1.1 200 OK\r\n\r\nabc"
		assert.same({ "abc" }, pieces)
		assert.is_nil(stream.connected)
	end)

	it("raises when the body breaks off", function()
		local stream = httpc.request_stream("GET",
			host(web.canned "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"), "/")
		assert.is_true(stream.connected)
		assert.equal("ab", (stream()))
		local ok, err = pcall(stream)
		assert.is_false(ok)
		assert.equal(sockethelper.socket_error, err)
		assert.is_false(stream.connected)
		assert.is_nil((stream()))
	end)

	it("closes with its variable", function()
		local closed
		local port = web.listen(function(id)
			socket.start(id)
			socket.write(id, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
			socket.readall(id)
			closed = true
			socket.close(id)
		end)
		do
			local stream <close> = httpc.request_stream("GET", host(port), "/")
			assert.equal(200, stream.status)
		end
		web.eventually(function() return closed end)
	end)
end)

describe("httpc.dns", function()
	it("resolves names by skynet.dns, and says when it can't", function()
		local dns = require "skynet.dns"
		httpc.dns("127.0.0.1", 1)
		local hosts = dns.DEFAULT_HOSTS
		local port = web.canned "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
		assert.same({ 200, "ok" }, { httpc.get("localhost:" .. port, "/") })
		assert.equal(200, (httpc.get("127.0.0.1:" .. port, "/")))
		local ok, err = pcall(httpc.get, "not_legal!:80", "/")
		assert.is_false(ok)
		assert.truthy(err:find("not_legal! dns resolve failed msg:illegal name", 1, true))
		assert.equal(hosts, dns.DEFAULT_HOSTS)
		web.stop()
	end)
end)

describe("sockethelper", function()
	after_each(web.stop)

	it("serves what was read before first", function()
		local port = web.listen(function(id)
			socket.start(id)
			socket.write(id, "defgh")
			socket.close(id)
		end)
		local id = socket.open("127.0.0.1", port)
		local read = sockethelper.readfunc(id, "abc")
		assert.same({ "a", "bcd", "efg" }, { read(1), read(3), read(3) })
		assert.equal("h", read())
		local ok, err = pcall(read)
		assert.same({ false, sockethelper.socket_error }, { ok, err })
		assert.equal("[Socket Error] : read failed fd = " .. id, tostring(err))
		assert.equal("[Socket Error]", tostring(err))
		socket.close(id)
	end)

	it("says why it can't connect", function()
		local ok, err = pcall(sockethelper.connect, "127.0.0.1", 1)
		assert.is_false(ok)
		assert.equal("[Socket Error] : connect failed host = 127.0.0.1 port = 1 timeout = nil "
			.. "err = Connection refused is_time_out = false", tostring(err))
	end)
end)
