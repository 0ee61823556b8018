-- HTTP without sockets: urls, heads, bodies, and what is refused.

local core = require "http.core"
local httpd = require "http.httpd"
local internal = require "http.internal"
local url = require "http.url"
local web = require "web"

local function request(...)
	return httpd.read_request(web.reader(...))
end

local function head(line)
	return "POST /x HTTP/1.1\r\nHost: h\r\n" .. line .. "\r\n\r\n"
end

describe("http.url", function()
	it("splits targets", function()
		assert.same({ "/a b c", "" }, { url.parse "/a%20b+c" })
		assert.same({ "/a", "b?c" }, { url.parse "/a?b?c" })
		assert.same({ "http://h/p", "a=1#frag" }, { url.parse "http://h/p?a=1#frag" })
		assert.same({ "", "" }, { url.parse "" })
		assert.same({ "/%zz", "" }, { url.parse "/%zz" })
	end)

	it("parses queries", function()
		assert.same({ a = "1", b = "2" }, url.parse_query "a=1&&b=2")
		assert.same({ a = "" }, url.parse_query "a=&b")
		assert.same({ a = "b=c" }, url.parse_query "a=b=c")
		assert.same({ a = { "1", "2", "3" } }, url.parse_query "a=1&a=2&a=3")
		assert.same({ ["a b"] = "c d" }, url.parse_query "a+b=c%20d")
		assert.same({ a = "%zz" }, url.parse_query "a=%zz")
	end)

	it("encodes what it decodes", function()
		local all = {}
		for i = 0, 255 do
			all[i + 1] = string.char(i)
		end
		all = table.concat(all)
		assert.equal(all, url.decode(url.encode(all)))
		assert.equal("a%20b%2F", url.encode "a b/")
		assert.same({ k = { "1", "&" }, ["="] = "x" },
			url.parse_query(url.build_query { k = { 1, "&" }, ["="] = "x" }))
	end)
end)

describe("http.pile", function()
	it("joins many parts in order, with few entries", function()
		local pile = require "http.pile".new()
		local expected = {}
		for i = 1, 5000 do
			pile:add(i .. ",")
			expected[i] = i .. ","
			assert(pile.count < 1100)
		end
		assert.equal(table.concat(expected), pile:join())
	end)
end)

describe("httpd.read_request", function()
	it("reads target, method, header and body", function()
		local code, target, method, header, body, keepalive = request(
			"GET /a?b HT", "TP/1.1\r\nHost: h\r", "\nX-A:  1 \r\nx-a: 2\r\nX-A: 3\r\n\r", "\n")
		assert.same({ 200, "/a?b", "GET", "", true }, { code, target, method, body, keepalive })
		assert.same({ host = "h", ["x-a"] = { "1", "2", "3" } }, header)
		assert.same({ 200, "hello" }, { request(head "Content-Length: 5", "hel", "lo"), (select(5,
			request(head "Content-Length: 5", "hel", "lo"))) })
		assert.equal("M-SEARCH", (select(3, request "M-SEARCH * HTTP/1.1\r\n\r\n")))
	end)

	it("reads pipelined requests with one read function", function()
		local read = web.reader("GET /1 HTTP/1.1\r\n\r\nPOST /2 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET",
			" /3 HTTP/1.1\r\n\r\nPUT /4 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
			.. "GET /5 HTTP/1.0\r\n\r\n")
		local seen = {}
		for i = 1, 5 do
			local code, target, _, _, body, keepalive = httpd.read_request(read)
			seen[i] = ("%d %s %q %s"):format(code, target, body, keepalive)
		end
		assert.same({ '200 /1 "" true', '200 /2 "abc" true', '200 /3 "" true', '200 /4 "x" true',
			'200 /5 "" false' }, seen)
	end)

	it("takes what follows a last request as its body", function()
		assert.equal("rest", (select(5, request "POST / HTTP/1.0\r\n\r\nrest")))
		assert.equal("", (select(5, request "POST / HTTP/1.1\r\n\r\nrest")))
	end)

	it("reads chunked bodies, extensions and trailers", function()
		local code, _, _, header, body = request(head "Transfer-Encoding: Chunked",
			"5;name=value\r\nhello\r", "\n0", "6 \r\n world\r\n000\r\nX-Sum: 7\r\nContent-Length: 9\r\n\r\n")
		assert.same({ 200, "hello world" }, { code, body })
		assert.same({ host = "h", ["transfer-encoding"] = "Chunked", ["x-sum"] = "7" }, header)
	end)

	it("refuses what could be read in two ways", function()
		local refused = {
			[head "Content-Length: 5\r\nContent-Length: 5"] = 400,
			[head "Content-Length: 5\r\nContent-Length: 6"] = 400,
			[head "Content-Length: 5, 5"] = 400,
			[head "Content-Length: +5"] = 400,
			[head "Content-Length: -5"] = 400,
			[head "Content-Length: 0x5"] = 400,
			[head "Content-Length: 5 5"] = 400,
			[head "Content-Length:"] = 400,
			[head "Content-Length: 99999999999999999999"] = 400,
			[head "Content-Length: 5\r\nTransfer-Encoding: chunked"] = 400,
			[head "Transfer-Encoding: chunked\r\nContent-Length: 5"] = 400,
			[head "Transfer-Encoding: identity\r\nContent-Length: 5"] = 400,
			[head "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"] = 501,
			[head "Transfer-Encoding: gzip, chunked"] = 501,
			[head "Transfer-Encoding: xchunked"] = 501,
			[head "Transfer-Encoding: \vchunked"] = 400,
			[head "Transfer-Encoding : chunked"] = 400,
			[head "Content-Length : 5"] = 400,
			[head " Content-Length: 5"] = 400,
			[head "X: 1\r\n folded"] = 400,
			[head "X: 1\r\n\tfolded"] = 400,
			[head "Host: other"] = 400,
			[head "X: a\rb"] = 400,
			[head "X: a\nContent-Length: 5"] = 400,
			[head "X: a\0b"] = 400,
			[head "no colon"] = 400,
			[head ": no name"] = 400,
			["GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"] = 400,
			["GET / HTTP/1.1\nHost: x\n\n"] = 400,
			["GET / HTTP/2.0\r\n\r\n"] = 505,
			["GET / HTTP/0.9\r\n\r\n"] = 505,
			["GET / HTTP/1.2\r\n\r\n"] = 505,
		}
		for bytes, code in pairs(refused) do
			local got, rest = request(bytes, "01234")
			assert(got == code, ("%q gave %s"):format(bytes, got))
			assert.is_nil(rest)
		end
	end)

	it("has no code for what isn't a request line", function()
		for _, line in ipairs { "GET /", "GET  / HTTP/1.1", "GET / x HTTP/1.1", "GET\t/ HTTP/1.1",
			"G\0T / HTTP/1.1", "(GET) / HTTP/1.1", " GET / HTTP/1.1", "GET / HTTP/1.1 ", "GET / HTTP/11",
			"GET /\1 HTTP/1.1", "\22\3\1\2\0\1\0" } do
			local code, why = request(line .. "\r\n\r\n")
			assert(code == nil and type(why) == "string", line)
		end
		assert.is_nil(request "\22\3\1\2\0\1\0")
		local code, why = request "GET / HT"
		assert.is_nil(code)
		assert.truthy(why:find "no more bytes")
	end)

	it("refuses malformed and oversized chunks", function()
		local function chunked(bytes, limit)
			return (httpd.read_request(web.reader(head "transfer-encoding: chunked", bytes), limit))
		end
		for _, bytes in ipairs { "x\r\n", "5\nhello\r\n0\r\n\r\n", "5\r\nhelloX\r\n0\r\n\r\n", "\r\n", "-1\r\n",
			"0x5\r\nhello\r\n", "5 5\r\nhello", "5;a\rb\r\nhello", "fffffffffffffffff\r\n",
			("0"):rep(200) .. "\r\n" } do
			assert.equal(413, chunked(bytes), bytes)
		end
		assert.equal(413, chunked("5\r\nhello\r\n0\r\n\r\n", 4))
		assert.equal(413, chunked("ffffffffffff\r\n", 4))
		assert.equal(200, chunked("5\r\nhello\r\n0\r\n\r\n", 5))
		assert.equal(400, chunked "0\r\nno colon\r\n\r\n")
		assert.equal(400, chunked("0\r\nx: " .. ("y"):rep(9000) .. "\r\n\r\n"))
	end)

	it("limits head, number of lines and body", function()
		assert.equal(413, request(("x"):rep(9000)))
		assert.equal(413, request(head("X: " .. ("y"):rep(9000))))
		assert.equal(413, request(head("x:y\r\n" .. ("x: y\r\n"):rep(200) .. "x:z")))
		assert.equal(200, request(head("x:y\r\n" .. ("x: y\r\n"):rep(100) .. "x:z")))
		local limited = function(n)
			return (httpd.read_request(web.reader(head("Content-Length: " .. n), ("b"):rep(n)), 10))
		end
		assert.equal(200, limited(10))
		assert.equal(413, limited(11))
		assert.equal(413, (httpd.read_request(web.reader(head "Content-Length: 999999999999999"))))
	end)

	it("gives up on a read function that brings nothing", function()
		local code, why = httpd.read_request(function() return "" end)
		assert.is_nil(code)
		assert.truthy(why:find "empty")
	end)
end)

describe("httpd.write_response", function()
	local function response(...)
		local writes = {}
		local ok, err = httpd.write_response(function(bytes)
			writes[#writes + 1] = bytes
		end, ...)
		return table.concat(writes), #writes, ok, err
	end

	it("writes the documented bytes, in one piece", function()
		assert.same({ "HTTP/1.1 200 OK\r\nx-a: 1\r\ncontent-length: 2\r\n\r\nhi", 1, true },
			{ response(200, "hi", { ["x-a"] = "1" }) })
		assert.same({ "HTTP/1.1 404 Not Found\r\n\r\n", 1, true }, { response(404) })
		assert.same({ "HTTP/1.1 299 \r\n\r\n", 1, true }, { response(299) })
		assert.same({ "HTTP/1.1 200 OK\r\na: 1\r\na: 2\r\ncontent-length: 0\r\n\r\n", 1, true },
			{ response(200, "", { a = { 1, 2 } }) })
	end)

	it("writes chunks", function()
		local parts = { "ab", "", ("x"):rep(16) }
		assert.equal("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n10\r\n"
			.. ("x"):rep(16) .. "\r\n0\r\n\r\n", (response(200, function()
				return table.remove(parts, 1)
			end)))
	end)

	it("refuses header injection and wrong bodies", function()
		for _, value in ipairs { "a\r\nb: c", "a\nb", "a\rb", "a\0b" } do
			local bytes, _, ok, err = response(200, "x", { h = value })
			assert.same({ "", false }, { bytes, ok })
			assert.truthy(err:find "line break")
			assert.is_false((select(3, response(200, "x", { [value] = "v" }))))
		end
		local _, _, ok, err = response(200, {})
		assert.is_false(ok)
		assert.truthy(err:find "assertion failed!")
		assert.is_false((select(3, response(200, function() error "no" end))))
	end)
end)

describe("http.internal", function()
	it("reads header lines as documented", function()
		local lines = {}
		assert.equal("body", internal.recvheader(web.reader("b: 2\r", "\n\r\nbody"), lines, "a: 1\r\n"))
		assert.same({ "a: 1", "b: 2" }, lines)
		lines = {}
		assert.equal("x", internal.recvheader(web.reader(), lines, "\r\nx"))
		assert.same({}, lines)
		assert.is_nil(internal.recvheader(web.reader(("x"):rep(9000)), {}, ""))
		lines = {}
		assert.equal("", internal.recvheader(web.reader(("x"):rep(9000) .. "\r\n\r\n"), lines, ""))
		assert.equal(9000, #lines[1])
	end)

	it("parses header lines as documented", function()
		assert.same({ a = "1 ", b = { "2", "3more" } },
			internal.parseheader({ "ignored", "A:  1 ", "B:2", "b: 3", "\tmore" }, 2, {}))
		assert.is_nil(internal.parseheader({ "no colon" }, 1, {}))
		assert.is_nil(internal.parseheader({ "\tfolded" }, 1, {}))
	end)

	it("reads chunked bodies as documented", function()
		assert.same({ "abc", { t = "1" } }, { internal.recvchunkedbody(
			web.reader("c\r\n0\r\nT: 1\r\n\r\n"), nil, {}, "2\r\nab\r\n1\r\n") })
		assert.is_nil(internal.recvchunkedbody(web.reader(), 2, {}, "3\r\nabc\r\n0\r\n\r\n"))
		assert.is_nil(internal.recvchunkedbody(web.reader(), nil, {}, "zz\r\n"))
	end)
end)

describe("http.core.response", function()
	local function parse(bytes)
		return core.response(bytes, 8192)
	end

	it("is patient with servers", function()
		local size, status, header, framing, keepalive = parse "HTTP/1.1 200 OK\r\nA : b\r\n \tc\r\n\r\nx"
		assert.same({ 31, 200, nil, true }, { size, status, framing, keepalive })
		assert.same({ a = "b c" }, header)
		assert.equal(404, (select(2, parse "HTTP/1.0 404\r\n\r\n")))
		assert.equal(5, (select(4, parse "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n")))
		assert.same({ "chunked", false }, { select(4,
			parse "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n") })
	end)

	it("isn't patient with nonsense", function()
		for _, bytes in ipairs { "HTTP/1.1 99 X\r\n\r\n", "HTTP/1.1 2000 X\r\n\r\n", "HTTP/1.1  200\r\n\r\n",
			"HTTP/2.0 200 OK\r\n\r\n", "http/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\n\n", "\r\n\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
			"HTTP/1.1 200 OK\r\n a: 1\r\n\r\n" } do
			assert.is_false((parse(bytes)), bytes)
		end
	end)
end)
