-- HTTP with programs of other makes: curl, Chromium, openssl; and the examples.

local browser = require "browser"
local certs = require "certs"
local kit = require "testkit"
local node = require "node"

local dir = certs.make(node.file "certs", "localhost")
local here = assert(io.popen "pwd"):read "l"

-- An example with a port of the system's choice.
local function example(name, more)
	return node.start_text(('include "%s/examples/%s/config"\nport = 0\n%s'):format(here, name, more or ""))
end

-- Output of a command, and its exit code.
local function run(...)
	local n = node.spawn { ... }
	local code = n:exit_code()
	return n.text, code
end

local function curl(...)
	local text, code = run("curl", "-sS", "--max-time", "60", ...)
	assert(code == 0, text)
	return text
end

describe("the web server", function()
	local server, http, https

	setup(function()
		server = node.start {
			start = "webserver", enablessl = true,
			certfile = dir .. "/localhost.pem", keyfile = dir .. "/localhost.key",
		}
		server:expect "webserver is up"
		http = "http://127.0.0.1:" .. server:expect "http listens on (%d+)"
		https = "https://localhost:" .. server:expect "https listens on (%d+)"
	end)

	teardown(function()
		server:signal(15)
		assert.equal(0, server:exit_code())
	end)

	for _, scheme in ipairs { "http", "https" } do
		it("serves curl by " .. scheme, function()
			local base = scheme == "http" and http or https
			local ca = dir .. "/ca.pem"
			local blob, copy = node.file("blob", ("0123456789abcdef"):rep(200000)), node.file "copy"
			for _, header in ipairs { "X: y", "Transfer-Encoding: chunked" } do
				curl("--cacert", ca, "-H", header, "--data-binary", "@" .. blob, "-o", copy, base .. "/echo")
				assert.equal(0, (select(2, run("cmp", blob, copy))))
			end
			assert.equal(tostring(300 * 65536), curl("--cacert", ca, "-o", "/dev/null", "-w", "%{size_download}",
				base .. "/big"))
			local verbose = curl("--cacert", ca, "-v", "-H", "Expect: 100-continue", "-d", "x", base .. "/echo")
			assert.truthy(verbose:find "HTTP/1.1 100 Continue")
			local twice = curl("--cacert", ca, "-v", base .. "/echo", base .. "/echo")
			assert.truthy(twice:find "Re%-using existing connection")
			assert.truthy(curl("--cacert", ca, "-I", base .. "/echo"):find "content%-length: 0")
			assert.truthy(curl("--cacert", ca, "-0", "-D", "-", "-o", copy, base .. "/big"):find "connection: close")
		end)

		it("passes every check of a page in Chromium by " .. scheme, function()
			local close = browser.open((scheme == "http" and http or https) .. "/page")
			server.text = ""
			local report = server:expect "report: ([^\n]+)"
			close()
			assert.equal("fetches ok, streams ok, texts ok, binary ok, order ok, closing ok, tooLarge ok, "
				.. "protocols ok", report)
		end)
	end

	it("serves openssl's client: certificate, versions, ALPN, sessions", function()
		local at = https:gsub("https://", "")
		local function s_client(...)
			local n = node.spawn { "openssl", "s_client", "-connect", at, "-CAfile", dir .. "/ca.pem",
				"-verify_return_error", "-servername", "localhost", ... }
			kit.write(n.input, "GET /echo HTTP/1.1\r\nConnection: close\r\n\r\n", 5)
			n:exit_code()
			return n.text
		end
		local text = s_client("-tls1_3", "-alpn", "h2,http/1.1", "-ign_eof")
		assert.truthy(text:find "Verify return code: 0 %(ok%)")
		assert.truthy(text:find "ALPN protocol: http/1.1")
		assert.truthy(text:find "HTTP/1.1 200 OK")
		local session = node.file "session"
		for _, version in ipairs { "-tls1_2", "-tls1_3" } do
			s_client(version, "-ign_eof", "-sess_out", session)
			assert.truthy(s_client(version, "-ign_eof", "-sess_in", session):find "Reused, TLSv1")
		end
	end)
end)

describe("TLS", function()
	it("is refused without enablessl, with the remedy", function()
		local n = node.start { start = "tlsclient" }
		n:expect("ltls need init, Put enablessl = true in you config file.")
		assert.equal(1, n:exit_code())
	end)

	it("gives the holder its place in the boot sequence", function()
		local n = node.start { start = "quit", enablessl = true }
		assert.equal(0, n:exit_code())
		assert.truthy(n.text:find "%[:00000008%] LAUNCH snlua service_provider")
		assert.truthy(n.text:find "%[:00000009%] LAUNCH snlua service_cell ltls_holder")
		assert.truthy(n.text:find "%[:0000000a%] LAUNCH snlua quit")
	end)

	it("works with openssl's server", function()
		local peer = node.spawn { "openssl", "s_server", "-accept", "127.0.0.1:0", "-www", "-cert",
			dir .. "/localhost.pem", "-key", dir .. "/localhost.key" }
		local port = peer:expect "ACCEPT 127.0.0.1:(%d+)"
		for _, verify in ipairs { "true", "false" } do
			local n = node.start { start = "tlsclient https://localhost:" .. port, enablessl = true,
				ssl_verify = verify, ssl_cafile = dir .. "/ca.pem" }
			n:expect "status 200"
			assert.equal(0, n:exit_code())
		end
		local n = node.start { start = "tlsclient https://localhost:" .. port, enablessl = true,
			ssl_verify = true }
		n:expect "certificate verify failed"
		assert.equal(1, n:exit_code())
		peer:kill()
	end)
end)

describe("the examples", function()
	it("http: serves a page with its script, and calls itself", function()
		local n = example "http"
		n:expect "POST /echo: 200 said twice"
		n:expect "GET /stream: 5 lines"
		n:expect "GET of nobody: false %[Socket Error%] : connect failed"
		n:expect "the client is done"
		local base = "http://127.0.0.1:" .. n:expect "http listens on 127.0.0.1:(%d+)"
		local html = browser.dump(base .. "/")
		assert.truthy(html:find "Hello, the page at 127.0.0.1")
		assert.truthy(html:find "the echo is right")
		assert.equal("line 1\nline 2\nline 3\nline 4\nline 5\n", curl(base .. "/stream"))
		assert.truthy(curl("-i", "--path-as-is", base .. "/../main.lua"):find "404 Not Found")
		assert.truthy(curl("-i", "-X", "PUT", base .. "/x"):find "405 Method Not Allowed")
		n:signal(15)
		assert.equal(0, n:exit_code())
	end)

	it("https: serves curl and itself", function()
		local n = example("https", ('certfile = "%s/localhost.pem"\nkeyfile = "%s/localhost.key"\n'
			.. 'ssl_cafile = "%s/ca.pem"\n'):format(dir, dir, dir))
		n:expect "GET https://localhost:%d+/secret: 200 GET /secret over TLS"
		n:expect "GET https://127.0.0.1:%d+/secret: 200 GET /secret over TLS"
		n:expect "the client is done"
		local base = "https://localhost:" .. n:expect "https listens on 127.0.0.1:(%d+)"
		assert.equal("GET /x over TLS\n", curl("--cacert", dir .. "/ca.pem", base .. "/x"))
		n:signal(15)
		assert.equal(0, n:exit_code())
	end)
end)
