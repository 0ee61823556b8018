-- Serving connections over real sockets: keep-alive, limits, slow and silent peers.

local httpd = require "http.httpd"
local skynet = require "skynet"
local socket = require "skynet.socket"
local sockethelper = require "http.sockethelper"
local web = require "web"

local function serve(handler, options)
	return web.listen(function(id, address)
		options = options or {}
		options.address = address
		httpd.serve(id, handler, options)
	end)
end

local function echo(request)
	return 200, ("%s %s %s"):format(request.method, request.url, request.body)
end

-- Status lines and bodies of an answer that holds several responses with a length.
local function responses(bytes)
	local list = {}
	local at = 1
	while at <= #bytes do
		local stop = assert(bytes:find("\r\n\r\n", at, true), bytes:sub(at))
		local head = bytes:sub(at, stop + 1)
		local n = tonumber(head:match "content%-length: (%d+)") or 0
		list[#list + 1] = head:match "^HTTP/1.1 (%d+)" .. " " .. bytes:sub(stop + 4, stop + 3 + n)
		at = stop + 4 + n
	end
	return list
end

describe("httpd.serve", function()
	after_each(web.stop)

	it("answers pipelined requests in order, until one asks to close", function()
		local port = serve(echo)
		assert.same({ "200 GET /1 ", "200 POST /2 abc", "200 GET /3 " }, responses(web.talk(port,
			"GET /1 HTTP/1.1\r\n\r\nPOST /2 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
			.. "GET /3 HTTP/1.1\r\nConnection: close\r\n\r\nGET /4 HTTP/1.1\r\n\r\n")))
	end)

	it("speaks HTTP/1.0 with those who do", function()
		local port = serve(function()
			local n = 0
			return 200, function()
				n = n + 1
				return n < 3 and "part" or nil
			end
		end)
		assert.equal("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\npartpart",
			web.talk(port, "GET / HTTP/1.0\r\n\r\n"))
		port = serve(echo)
		local answer = web.talk(port, "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET / HTTP/1.0\r\n\r\n")
		assert.same({ "200 GET / ", "200 GET / " }, responses(answer))
		assert.truthy(answer:find "connection: keep%-alive")
	end)

	it("sends no body where there must be none", function()
		local port = serve(function(request)
			return request.path == "/204" and 204 or 200, "body"
		end)
		assert.equal("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"
			.. "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n",
			web.talk(port, "HEAD / HTTP/1.1\r\n\r\nGET /204 HTTP/1.1\r\nconnection: close\r\n\r\n"))
	end)

	it("asks for the body when the peer waits for that", function()
		local port = serve(echo)
		local id = socket.open("127.0.0.1", port)
		socket.write(id, "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n"
			.. "Connection: close\r\n\r\n")
		assert.equal("HTTP/1.1 100 Continue", socket.readline(id, "\r\n\r\n"))
		socket.write(id, "hi")
		assert.truthy(socket.readall(id):find "POST / hi$")
		socket.close(id)
	end)

	it("refuses with a code, and closes", function()
		local port = serve(echo, { body_limit = 10 })
		local function code(bytes)
			local answer = web.talk(port, bytes)
			assert.truthy(answer:find "\r\nconnection: close\r\n")
			return answer:match "^HTTP/1.1 (%d+)"
		end
		assert.equal("400", code "nonsense\r\n\r\n")
		assert.equal("505", code "GET / HTTP/3.0\r\n\r\n")
		assert.equal("501", code "GET / HTTP/1.1\r\nTransfer-Encoding: br\r\n\r\n")
		assert.equal("413", code(("x"):rep(10000)))
		assert.equal("413", code "GET / HTTP/1.1\r\nContent-Length: 11\r\n\r\n")
		assert.equal("413", code "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n")
	end)

	it("answers 500 when the handler raises, and goes on", function()
		local port = serve(function(request)
			if request.path == "/bad" then
				error "handler failed on purpose"
			elseif request.path == "/nothing" then
				return
			end
			return 200, "fine"
		end)
		assert.same({ "500 Internal Server Error", "500 Internal Server Error", "200 fine" }, responses(web.talk(
			port, "GET /bad HTTP/1.1\r\n\r\nGET /nothing HTTP/1.1\r\n\r\nGET / HTTP/1.0\r\n\r\n")))
	end)

	it("hands the body out in pieces", function()
		local port = serve(function(request)
			local size = 0
			for bytes in request.body do
				size = size + #bytes
			end
			return 200, tostring(size)
		end, { stream = true, body_limit = 1 << 30 })
		local id = socket.open("127.0.0.1", port)
		socket.write(id, "POST / HTTP/1.1\r\nContent-Length: 20000000\r\n\r\n")
		for _ = 1, 200 do
			socket.write(id, ("x"):rep(100000))
		end
		socket.write(id, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
		socket.write(id, "GET / HTTP/1.0\r\n\r\n")
		assert.same({ "200 20000000", "200 3", "200 0" }, responses(socket.readall(id)))
		socket.close(id)
	end)

	it("skips a body that the handler didn't read", function()
		local port = serve(function(request)
			return 200, request.url
		end, { stream = true, body_limit = 100 })
		assert.same({ "200 /1", "200 /2" }, responses(web.talk(port,
			"POST /1 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /2 HTTP/1.0\r\n\r\n")))
	end)

	it("drops peers that are silent, slow, or don't read", function()
		local ended = 0
		local port = web.listen(function(id)
			httpd.serve(id, function()
				return 200, function() return ("x"):rep(1 << 20) end
			end, { timeout = 30, idle = 30 })
			ended = ended + 1
		end)
		local ids = {}
		for i, bytes in ipairs { "", "GET / HT", "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nx",
			"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "GET / HTTP/1.1\r\n\r\n" } do
			ids[i] = socket.open("127.0.0.1", port)
			socket.write(ids[i], bytes)
			if i == 5 then
				socket.pause(ids[i])
			end
		end
		-- one byte at a time doesn't help
		skynet.fork(function()
			while socket.write(ids[2], "T") do
				skynet.sleep(5)
			end
		end)
		web.eventually(function() return ended == 5 end)
		for _, id in ipairs(ids) do
			socket.close(id)
		end
	end)

	it("survives peers that vanish anywhere in a request", function()
		local ended = 0
		local port = web.listen(function(id)
			httpd.serve(id, echo)
			ended = ended + 1
		end)
		local bytes = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n"
		for i = 0, #bytes do
			local id = socket.open("127.0.0.1", port)
			socket.write(id, bytes:sub(1, i))
			socket.close(id)
		end
		web.eventually(function() return ended == #bytes + 1 end)
	end)

	it("gives the connection to a handler that takes it", function()
		local port = serve(function(request)
			request.write "raw"
			return false
		end)
		assert.equal("raw", web.talk(port, "GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n"))
	end)
end)

describe("http.deadline", function()
	it("shuts late sockets down, in order, unless they're given more time", function()
		local deadline = require "http.deadline"
		local port = web.listen(function(id) socket.start(id) end)
		local order, ids = {}, {}
		for i = 1, 4 do
			ids[i] = socket.open("127.0.0.1", port)
			skynet.fork(function()
				socket.readall(ids[i])
				order[#order + 1] = i .. tostring(deadline.clear(ids[i]))
			end)
		end
		deadline.set(ids[1], 6000)
		deadline.set(ids[2], 30)
		deadline.set(ids[3], 20)
		deadline.set(ids[4], 10)
		deadline.extend(ids[4], 40)
		deadline.set(ids[1], 5) -- earlier than what is waited for
		web.eventually(function() return #order == 4 end)
		assert.equal("1true 3true 2true 4true", table.concat(order, " "))
		assert.is_false(deadline.clear(ids[1]))
		for _, id in ipairs(ids) do
			socket.close(id)
		end
		deadline.set(ids[1], 1) -- of a closed socket
		skynet.sleep(5)
		assert.is_false(deadline.clear(ids[1]))
		web.stop()
	end)
end)

describe("httpd.read_request on a socket", function()
	after_each(web.stop)

	it("keeps a connection for many requests, and reports its end", function()
		local last
		local port = web.listen(function(id)
			socket.start(id)
			local read, write = sockethelper.readfunc(id), sockethelper.writefunc(id)
			while true do
				local code, url = httpd.read_request(read, 100)
				if code ~= 200 then
					last = url
					break
				end
				httpd.write_response(write, code, url)
			end
			socket.close(id)
		end)
		local id = socket.open("127.0.0.1", port)
		for i = 1, 50 do
			socket.write(id, ("GET /%02d HTTP/1.1\r\n\r\n"):format(i))
			assert.equal("HTTP/1.1 200 OK\r\ncontent-length: 3", socket.readline(id, "\r\n\r\n"))
			assert.equal(("/%02d"):format(i), socket.read(id, 3))
		end
		socket.close(id)
		web.eventually(function() return last end)
		assert.equal(sockethelper.socket_error, last)
	end)

	it("ends after httpd.timeout", function()
		local before = httpd.timeout
		httpd.timeout = 20
		local result
		local port = web.listen(function(id)
			socket.start(id)
			result = table.pack(httpd.read_request(sockethelper.readfunc(id)))
			socket.close(id)
		end)
		local id = socket.open("127.0.0.1", port)
		socket.write(id, "GET / HTTP/1.1\r\n")
		web.eventually(function() return result end)
		httpd.timeout = before
		assert.is_nil(result[1])
		assert.equal(sockethelper.socket_error, result[2])
		socket.close(id)
	end)
end)
