-- Names resolved against a name server of the spec's own, friendly and hostile.

local dns = require "skynet.dns"
local kit = require "testkit"
local servers = require "servers"
local skynet = require "skynet"
local socket = require "skynet.socket"

dns.DEFAULT_HOSTS = nil
dns.DEFAULT_RESOLV_CONF = nil

local function record(kind, ttl, data)
	return "\xc0\x0c" .. string.pack(">I2I2I4s2", kind, 1, ttl, data)
end

local function reply(query, flags, ...)
	local records = { ... }
	local question = query:sub(13)
	return query:sub(1, 2) .. string.pack(">I2I2I2I2I2", flags, 1, #records, 0, 0) .. question ..
		table.concat(records)
end

local answer -- f(query) -> datagram...
local forge -- f(query, from), when it's set
local asked = {}
local server, tcp, port

describe("skynet.dns", function()
	setup(function()
		local listener, _, bound = socket.listen("127.0.0.1", 0)
		tcp, port = listener, bound
		server = socket.udp_listen("127.0.0.1", port, function(query, from)
			asked[#asked + 1] = query
			if forge then
				forge(query, from)
			end
			for _, text in ipairs { answer(query) } do
				socket.sendto(server, from, text)
			end
		end)
		socket.start(tcp, function(id)
			skynet.fork(function()
				socket.start(id)
				local n = string.unpack(">I2", (assert(socket.read(id, 2))))
				local query = socket.read(id, n)
				socket.write(id, string.pack(">s2", reply(query, 0x8180,
					record(1, 60, "\10\0\0\1"), record(1, 60, "\10\0\0\2"))))
				socket.close(id)
			end)
		end)
	end)

	before_each(function()
		dns.server("127.0.0.1", port)
		dns.flush()
		asked = {}
	end)

	it("asks with the bytes of the protocol, and keeps the answer", function()
		answer = function(q)
			return reply(q, 0x8180, record(1, 60, "\1\2\3\4"), record(1, 30, "\5\6\7\8"))
		end
		local ip, all = dns.resolve "www.example.com"
		assert.equal("1.2.3.4", ip)
		assert.same({ "1.2.3.4", "5.6.7.8" }, all)
		assert.equal("\1\0\0\1\0\0\0\0\0\0\3www\7example\3com\0\0\1\0\1", asked[1]:sub(3))
		assert.equal("1.2.3.4", (dns.resolve "WWW.example.com"))
		assert.equal(1, #asked)
		dns.flush()
		dns.resolve "www.example.com"
		assert.equal(2, #asked)
	end)

	it("knows IPv6, and CNAME chains", function()
		answer = function(q)
			return reply(q, 0x8180, record(5, 60, "\1x\0"),
				record(28, 60, ("\0"):rep(15) .. "\1"))
		end
		assert.equal("0:0:0:0:0:0:0:1", (dns.resolve("v6.example.com", true)))
		assert.equal("\0\28\0\1", asked[1]:sub(-4))
	end)

	it("shares one query among those who ask the same", function()
		answer = function(q)
			return reply(q, 0x8180, record(1, 60, "\1\1\1\1"))
		end
		local left = 10
		for _ = 1, 10 do
			skynet.fork(function()
				assert(dns.resolve "shared.example.com" == "1.1.1.1")
				left = left - 1
			end)
		end
		for _ = 1, 500 do
			if left == 0 then break end
			skynet.sleep(1)
		end
		assert.equal(0, left)
		assert.equal(1, #asked)
	end)

	it("goes to TCP when the answer was cut", function()
		answer = function(q)
			return reply(q, 0x8380)
		end
		local _, all = dns.resolve "big.example.com"
		assert.same({ "10.0.0.1", "10.0.0.2" }, all)
	end)

	it("isn't fooled or hung by hostile answers", function()
		answer = function(q)
			local id = q:sub(1, 2)
			return "", "x", id, id .. ("\0"):rep(10), id .. ("\xff"):rep(500),
				-- a name that points to itself
				id .. "\x81\x80\0\1\0\1\0\0\0\0\xc0\x0c\0\1\0\1",
				-- another question's answer
				reply(id .. q:sub(3, 12) .. "\4evil\3com\0\0\1\0\1", 0x8180, record(1, 60, "\6\6\6\6")),
				-- more records than there are
				id .. string.pack(">I2I2I2I2I2", 0x8180, 1, 9999, 0, 0) .. q:sub(13),
				reply(q, 0x8180, record(1, 60, "\1\2\3\4"))
		end
		assert.equal("1.2.3.4", (dns.resolve "target.example.com"))
	end)

	it("asks with ids that nobody can guess, from ports that change", function()
		answer = function(q)
			return reply(q, 0x8180, record(1, 60, "\1\2\3\4"))
		end
		local ids, n = {}, 0
		for i = 1, 50 do
			dns.resolve("random" .. i .. ".example.com")
			local id = string.unpack(">I2", asked[i])
			n = n + (ids[id] and 0 or 1)
			ids[id] = true
		end
		assert.truthy(n > 45)
		local steps = 0
		for i = 2, 50 do
			if string.unpack(">I2", asked[i]) == string.unpack(">I2", asked[i - 1]) + 1 then
				steps = steps + 1
			end
		end
		assert.truthy(steps < 5)
	end)

	it("drops answers that come from elsewhere", function()
		local forger = socket.udp(function() end, "127.0.0.1", 0)
		forge = function(q, from)
			socket.sendto(forger, from, reply(q, 0x8180, record(1, 60, "\6\6\6\6")))
		end
		answer = function(q)
			kit.sleep(0.05)
			return reply(q, 0x8180, record(1, 60, "\1\2\3\4"))
		end
		assert.equal("1.2.3.4", (dns.resolve "forged.example.com"))
		forge = nil
		socket.close(forger)
	end)

	local function failure(...)
		local ok, err = pcall(dns.resolve, ...)
		assert.is_false(ok)
		return err
	end

	it("says when there's no such name or address, and remembers it for a while", function()
		local soa = "\xc0\x0c" .. string.pack(">I2I2I4s2", 6, 1, 60, "\0\0" .. ("\0"):rep(16) ..
			"\0\0\0\60")
		answer = function(q)
			return q:sub(1, 2) .. string.pack(">I2I2I2I2I2", 0x8183, 1, 0, 1, 0) .. q:sub(13) .. soa
		end
		assert.truthy(failure "none.example.com":find "no such name %(timeout or no answer%)")
		assert.truthy(failure "none.example.com":find "no such name")
		assert.equal(1, #asked)
		answer = function(q)
			return reply(q, 0x8180)
		end
		assert.truthy(failure "empty.example.com":find "no such address %(timeout or no answer%)")
		assert.truthy(failure "empty.example.com":find "no such address")
		assert.equal(3, #asked) -- without an SOA, nothing is remembered
	end)

	it("gives up when no server can tell", function()
		answer = function(q)
			return reply(q, 0x8182)
		end
		assert.truthy(failure "broken.example.com":find "the server failed with code 2")
		assert.equal(2, #asked)
	end)

	it("waits for as long as it's told", function()
		answer = function() end
		assert.truthy(failure("silent.example.com", false, 5):find "timeout or no answer")
	end)

	it("keeps an old answer when there's no new one", function()
		local ttl = 1
		answer = function(q)
			return ttl and reply(q, 0x8180, record(1, ttl, "\1\2\3\4")) or reply(q, 0x8182)
		end
		assert.equal("1.2.3.4", (dns.resolve "old.example.com"))
		ttl = nil
		skynet.sleep(120)
		assert.equal("1.2.3.4", (dns.resolve "old.example.com"))
		assert.equal(3, #asked)
	end)

	it("asks the next server when one is silent, or fails", function()
		local silent = socket.udp(function() end, "127.0.0.1", 0)
		local silent_port
		for _, s in ipairs(socket.netstat()) do
			if s.id == silent then
				silent_port = tonumber(s.sock and s.sock:match ":(%d+)$")
			end
		end
		answer = function(q)
			return reply(q, 0x8180, record(1, 60, "\1\2\3\4"))
		end
		dns.server { { "127.0.0.1", silent_port or servers.free_port() }, { "127.0.0.1", port } }
		assert.equal("1.2.3.4", (dns.resolve "second.example.com"))
		socket.close(silent)
		local count = 0
		answer = function(q)
			count = count + 1
			return reply(q, count == 1 and 0x8185 or 0x8180, record(1, 60, "\1\2\3\4"))
		end
		dns.server { { "127.0.0.1", port }, { "127.0.0.1", port } }
		dns.flush()
		assert.equal("1.2.3.4", (dns.resolve "refused.example.com"))
		assert.equal(2, count)
	end)

	it("finds servers in the resolver's file", function()
		local name = os.tmpname()
		local f = io.open(name, "w")
		f:write "# mine\nsearch example.com\nnameserver ::1\nnameserver 127.0.0.1\n"
		f:close()
		assert.is_false(pcall(dns.server))
		dns.DEFAULT_RESOLV_CONF = name
		dns.server()
		-- nobody answers on port 53 here, but that's where it asks
		assert.truthy(failure("conf.example.com", false, 2):find "timeout or no answer")
		dns.DEFAULT_RESOLV_CONF = nil
		os.remove(name)
	end)

	it("asks servers by IPv6", function()
		local six_port = servers.free_port()
		local six
		six = socket.udp_listen("::1", six_port, function(query, from)
			socket.sendto(six, from, reply(query, 0x8180, record(1, 60, "\1\2\3\6")))
		end)
		dns.server("0:0:0:0:0:0:0:1", six_port)
		assert.equal("1.2.3.6", (dns.resolve "six.example.com"))
		socket.close(six)
	end)

	it("returns literals, and refuses illegal names", function()
		assert.equal("1.2.3.4", dns.resolve "1.2.3.4")
		assert.equal("::1", dns.resolve "::1")
		assert.same({ nil, "illegal name" }, { dns.resolve "a b" })
		assert.same({ nil, "illegal name" }, { dns.resolve(("a"):rep(64)) })
	end)

	it("reads a hosts file", function()
		local name = os.tmpname()
		local f = io.open(name, "w")
		f:write "# a comment\n10.1.2.3  Printer printer.local # office\n::1 six\n"
		f:close()
		dns.DEFAULT_HOSTS = name
		assert.equal("10.1.2.3", (dns.resolve "printer.local"))
		assert.equal("10.1.2.3", (dns.resolve "PRINTER"))
		assert.equal("::1", (dns.resolve("six", true)))
		dns.DEFAULT_HOSTS = nil
		os.remove(name)
	end)
end)
