-- TLS inside one service: engines, https both ways, checking certificates, sessions.

require "ltls.init.c".constructor()
local c = require "ltls.c"
local certs = require "certs"
local deadline = require "http.deadline"
local httpc = require "http.httpc"
local httpd = require "http.httpd"
local skynet = require "skynet"
local socket = require "skynet.socket"
local sockethelper = require "http.sockethelper"
local tlshelper = require "http.tlshelper"
local web = require "web"

local dir = certs.make(os.getenv "TEST_TMP" .. "/https_certs", "localhost", "other")

local function pem(name)
	return dir .. "/" .. name .. ".pem", dir .. "/" .. name .. ".key"
end

local function serve(name, handler)
	local cert, key = pem(name or "localhost")
	return (web.listen(function(id)
		httpd.serve(id, handler or function(request)
			return 200, request.url .. (type(request.body) == "string" and request.body or "")
		end, { protocol = "https", certfile = cert, keyfile = key, timeout = 500, body_limit = 1 << 30 })
	end))
end

local function trusting()
	local ctx = c.newctx()
	ctx:set_verify(dir .. "/ca.pem")
	return ctx
end

-- Shake hands with a port; returns ok, and the engine or the error.
local function shake(port, ctx, host)
	local fd = socket.open("127.0.0.1", port)
	local tls = tlshelper.newtls("client", ctx, host)
	local ok, err = pcall(tlshelper.init_requestfunc(fd, tls, host))
	return ok, ok and tls or err, fd
end

describe("ltls.c", function()
	local cert, key = pem "localhost"

	local function pair(client, server, host)
		local a, b = c.newtls("client", client, host), c.newtls("server", server)
		local bytes = a:handshake()
		for _ = 1, 10 do
			if not b:finished() then
				bytes = b:handshake(bytes)
			elseif not a:finished() then
				bytes = b:write()
			end
			if a:finished() and b:finished() then
				break
			end
			if not a:finished() then
				bytes = a:handshake(bytes) or a:write()
			end
		end
		return a, b
	end

	local function server()
		local ctx = c.newctx()
		ctx:set_cert(cert, key)
		return ctx
	end

	it("moves bytes between two engines", function()
		local a, b = pair(c.newctx(), server())
		assert.is_true(a:finished() and b:finished())
		a:read(b:write())
		assert.equal("hello", b:read(a:write "hello"))
		local big = ("0123456789"):rep(100000)
		assert.equal(big, a:read(b:write(big)))
		assert.equal("", a:read())
		assert.equal("TLSv1.3", a:version())
		local ok, err = pcall(a.handshake, a)
		assert.truthy(not ok and err:find "handshake is finished")
		assert.equal("", b:read(a:shutdown()))
		assert.is_true(b:ended())
		a:close()
		a:close()
		for _, method in ipairs { "handshake", "finished", "read", "write", "set_ext_host_name", "session" } do
			ok, err = pcall(a[method], a, "x")
			assert.truthy(not ok and err:find "context is closed", method)
		end
	end)

	it("says what is wrong", function()
		local ctx = c.newctx()
		local function why(f, ...)
			local ok, err = pcall(f, ...)
			assert.is_false(ok)
			return err
		end
		assert.truthy(why(ctx.set_cert, nil):find "need sslctx")
		assert.truthy(why(ctx.set_cert, ctx):find "need certfile")
		assert.truthy(why(ctx.set_cert, ctx, cert):find "need private key")
		assert.truthy(why(ctx.set_cert, ctx, "/none", key):find "SSL_CTX_use_certificate_chain_file error:0")
		assert.truthy(why(ctx.set_cert, ctx, cert, "/none"):find "SSL_CTX_use_PrivateKey_file error:0")
		assert.truthy(why(ctx.set_cert, ctx, cert, dir .. "/other.key"):find "SSL_CTX_use_PrivateKey_file error:0")
		assert.truthy(why(ctx.set_ciphers, ctx):find "need cipher list")
		assert.truthy(why(ctx.set_ciphers, ctx, "NONSENSE"):find "SSL_CTX_set_cipher_list error:0")
		ctx:set_ciphers "ECDHE-ECDSA-AES128-GCM-SHA256"
		assert.truthy(why(c.newtls, "both", ctx):find("invalid method:both e.g[server, client]", 1, true))
		assert.truthy(why(c.newtls, "client"))
		assert.truthy(why(c.newtls, "client", 1))
		local tls = c.newtls("client", ctx)
		tls:handshake()
		assert.truthy(why(tls.handshake, tls, "nonsense that isn't TLS"):find "SSL_do_handshake error:1 ret:%-1")
		tls = c.newtls("client", ctx)
		assert.truthy(why(tls.write, tls, "x"):find "SSL_write error:%d")
		local a, b = pair(c.newctx(), server())
		a:read(b:write())
		local bytes = a:write "hello"
		assert.truthy(why(b.read, b, bytes:sub(1, -2) .. "\0"):find "SSL_read error:1")
	end)

	it("survives garbage in place of every message", function()
		local ctx = server()
		for seed = 1, 200 do
			math.randomseed(seed)
			local noise = {}
			for i = 1, math.random(100) do
				noise[i] = string.char(math.random(0, 255))
			end
			local tls = c.newtls(seed % 2 == 0 and "client" or "server", ctx)
			pcall(tls.handshake, tls, table.concat(noise))
			pcall(tls.read, tls, table.concat(noise))
			pcall(tls.write, tls, "x")
			pcall(tls.shutdown, tls)
			pcall(tls.resume, tls, table.concat(noise))
		end
	end)
end)

describe("https", function()
	before_each(function()
		httpc.verify = false -- the servers here have certificates of their own making
	end)

	after_each(function()
		web.stop()
		httpc.verify, httpc.keepalive = nil, nil
	end)

	it("serves and asks", function()
		local port = serve()
		local host = "https://127.0.0.1:" .. port
		assert.same({ 200, "/a" }, { httpc.get(host, "/a") })
		local big = ("0123456789abcdef"):rep(200000)
		assert.same({ 200, "/b" .. big }, { httpc.request("POST", host, "/b", nil, nil, big) })
		local size = 0
		port = serve(nil, function()
			local n = 0
			return 200, function()
				n = n + 1
				return n <= 50 and ("x"):rep(100000) or nil
			end
		end)
		for piece in httpc.request_stream("GET", "https://localhost:" .. port, "/") do
			size = size + #piece
		end
		assert.equal(5000000, size)
	end)

	it("works with helpers put together by hand, as projects do it", function()
		local ctx = tlshelper.newctx()
		ctx:set_cert(pem "localhost")
		local port = web.listen(function(id)
			socket.start(id)
			local tls = tlshelper.newtls("server", ctx)
			local init, close = tlshelper.init_responsefunc(id, tls), tlshelper.closefunc(tls)
			init()
			local code, url = httpd.read_request(tlshelper.readfunc(id, tls), 8192)
			httpd.write_response(tlshelper.writefunc(id, tls), code, url)
			socket.close(id)
			close()
		end)
		assert.same({ 200, "/by-hand" }, { httpc.get("https://127.0.0.1:" .. port, "/by-hand") })
		local fd = socket.open("127.0.0.1", port)
		local tls = tlshelper.newtls("client", tlshelper.newctx())
		tlshelper.init_requestfunc(fd, tls)("localhost")
		tlshelper.writefunc(fd, tls) "GET /x HTTP/1.1\r\n\r\n"
		local read = tlshelper.readfunc(fd, tls)
		assert.equal("HTTP/1.1 ", read(9))
		assert.equal("200 OK", read(6))
		assert.truthy(tlshelper.readallfunc(fd, tls)():find "/x$" or read():find "/x$")
		tlshelper.closefunc(tls)()
		socket.close(fd)
	end)

	it("keeps connections", function()
		httpc.keepalive = 1000
		local connections = 0
		local cert, key = pem "localhost"
		local port = web.listen(function(id)
			connections = connections + 1
			httpd.serve(id, function() return 200, "x" end,
				{ protocol = "https", certfile = cert, keyfile = key })
		end)
		for _ = 1, 5 do
			assert.equal(200, (httpc.get("https://127.0.0.1:" .. port, "/")))
		end
		assert.equal(1, connections)
	end)

	it("checks certificates unless told not to", function()
		local port = serve()
		assert.equal(200, (httpc.get("https://localhost:" .. port, "/")))
		httpc.verify = nil -- the default; the system doesn't know our authority
		local ok, err = pcall(httpc.get, "https://localhost:" .. port, "/")
		assert.is_false(ok)
		assert.truthy(tostring(err):find "SSL_do_handshake error:1 ret:%-1 %(certificate verify failed: .+%)")
	end)

	it("checks authority and name", function()
		local port, other = serve "localhost", serve "other"
		assert.is_true((shake(port, trusting(), "localhost")))
		assert.is_true((shake(port, trusting(), "127.0.0.1")))
		assert.is_true((shake(other, trusting(), "other")))
		local ok, err = shake(other, trusting(), "localhost")
		assert.truthy(not ok and err:find "hostname mismatch")
		ok, err = shake(other, trusting(), "127.0.0.1")
		assert.truthy(not ok and err:find "IP address mismatch")
		assert.is_true((shake(other, c.newctx(), "localhost")))
	end)

	it("resumes sessions, and agrees on http/1.1", function()
		local port = serve()
		local ctx = c.newctx()
		ctx:set_http()
		local reused = {}
		for i = 1, 3 do
			local ok, tls, fd = shake(port, ctx, "localhost")
			assert.is_true(ok)
			assert.equal("http/1.1", tls:alpn())
			tlshelper.writefunc(fd, tls) "GET / HTTP/1.1\r\n\r\n"
			assert.truthy(tlshelper.readfunc(fd, tls)():find "^HTTP/1.1 200 OK")
			reused[i] = tls:reused()
			tlshelper.closefunc(tls, fd)()
			socket.close(fd)
		end
		assert.same({ false, true, true }, reused)
	end)

	it("gives up on peers that don't shake hands", function()
		local ended = 0
		local cert, key = pem "localhost"
		local port = web.listen(function(id)
			httpd.serve(id, function() return 200 end,
				{ protocol = "https", certfile = cert, keyfile = key, timeout = 20 })
			ended = ended + 1
		end)
		local silent = socket.open("127.0.0.1", port)
		local plain = socket.open("127.0.0.1", port)
		socket.write(plain, "GET / HTTP/1.1\r\n\r\n")
		socket.close(socket.open("127.0.0.1", port))
		web.eventually(function() return ended == 3 end)
		socket.close(silent)
		socket.close(plain)
		port = web.listen(function(id) socket.start(id) end)
		local ok, err = pcall(httpc.request, "GET", "https://127.0.0.1:" .. port, "/", nil, nil, nil, 20)
		assert.is_false(ok)
		assert.equal(sockethelper.socket_error, err)
		port = web.listen(function(id) socket.start(id) socket.close(id) end)
		ok, err = pcall(httpc.get, "https://127.0.0.1:" .. port, "/")
		assert.is_false(ok)
		assert.equal(sockethelper.socket_error, err)
	end)

	it("survives a connection cut at any byte of the handshake", function()
		local port = serve()
		for cut = 1, 1500, 100 do
			local proxy = web.listen(function(id)
				socket.start(id)
				local to = socket.open("127.0.0.1", port)
				local left = cut
				skynet.fork(function()
					for bytes in function() return socket.read(id) or nil end do
						socket.write(to, bytes)
					end
				end)
				for bytes in function() return socket.read(to) or nil end do
					socket.write(id, bytes:sub(1, left))
					left = left - #bytes
					if left <= 0 then
						break
					end
				end
				socket.close(to)
				socket.shutdown(id)
				socket.close(id)
			end)
			local ok = pcall(httpc.request, "GET", "https://127.0.0.1:" .. proxy, "/", nil, nil, nil, 500)
			assert(not ok or cut > 700)
		end
		assert.is_false(deadline.clear(1))
	end)
end)
