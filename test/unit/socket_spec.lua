-- Reading from sockets: what comes back, who waits, what a waiting connection costs.

local eventually = require "eventually"
local skynet = require "skynet"
local socket = require "skynet.socket"
local sc = require "skynet.coroutine"
require "skynet.manager"

local function fails(text, f, ...)
	local ok, err = pcall(f, ...)
	assert.is_false(ok)
	assert.is_truthy(tostring(err):find(text, 1, true), err)
end

local function upvalue(f, wanted)
	for i = 1, math.huge do
		local name, value = debug.getupvalue(f, i)
		if name == nil or name == wanted then
			return value
		end
	end
end

-- The functions that socket messages are handled by, and the records behind them.
local handlers = upvalue(skynet.dispatch "socket", "socket_message")
local pool = upvalue(handlers[1], "socket_pool")

describe("a connection", function()
	local listener, port
	local here, there -- its ends

	before_each(function()
		local _
		listener, _, port = socket.listen("127.0.0.1", 0)
		there = nil
		socket.start(listener, function(id)
			socket.start(id)
			there = id
		end)
		here = assert(socket.open("127.0.0.1", port))
		eventually(function()
			return there
		end)
	end)

	after_each(function()
		socket.close(here)
		socket.close(there)
		socket.close(listener)
	end)

	-- Have exactly these pieces arrive, one after another.
	local function send(...)
		for _, piece in ipairs { ... } do
			local had = pool[here].unread
			socket.write(there, piece)
			eventually(function()
				return pool[here].unread >= had + #piece
			end)
		end
	end

	-- Run f(...) in a coroutine; returns a function that waits for its results.
	local function begin(f, ...)
		local results
		local co = skynet.fork(function(...)
			results = table.pack(pcall(f, ...))
		end, ...)
		skynet.yield()
		return function()
			eventually(function()
				return results
			end)
			return table.unpack(results, 1, results.n)
		end, co
	end

	it("gives as many bytes as asked for, across pieces", function()
		send("ab", "cdef", "g")
		assert.equal("abc", socket.read(here, 3))
		assert.equal("de", socket.read(here, 2))
		assert.equal("", socket.read(here, 0))
		local result = begin(socket.read, here, 4)
		socket.write(there, "h")
		socket.write(there, "ijk")
		assert.same({ true, "fghi" }, { result() })
		assert.equal("jk", socket.read(here))
	end)

	it("gives what there is, or waits for something", function()
		send("ab", "cd")
		assert.equal("abcd", socket.read(here))
		local result = begin(socket.read, here)
		socket.write(there, "e")
		assert.same({ true, "e" }, { result() })
	end)

	it("gives lines, whose separator may come in pieces", function()
		send("one\ntwo\r", "\nthree<e", "nd><en", "d>\r\n\r\n")
		assert.equal("one", socket.readline(here))
		assert.equal("two", socket.readline(here, "\r\n"))
		assert.equal("three", socket.readline(here, "<end>"))
		assert.equal("", socket.readline(here, "<end>"))
		assert.equal("", socket.readline(here, "\r\n"))
		local result = begin(socket.readline, here, "\r\n")
		socket.write(there, "and")
		socket.write(there, " more")
		assert.same({ true, "" }, { result() })
		local last = begin(socket.readline, here, "--")
		socket.write(there, "-")
		skynet.sleep(1)
		socket.write(there, "-rest")
		assert.same({ true, "and more" }, { last() })
		assert.equal("rest", socket.read(here))
		fails("the separator is empty", socket.readline, here, "")
	end)

	it("gives what's left when it has ended", function()
		send("half")
		local result = begin(socket.read, here, 5)
		socket.close(there)
		assert.same({ true, false, "half" }, { result() })
		assert.same({ false, "" }, { socket.read(here, 5) })
		assert.same({ false, "" }, { socket.read(here) })
		assert.same({ false, "" }, { socket.readline(here) })
		assert.is_false(socket.readall(here))
		assert.is_false(socket.block(here))
		assert.is_true(socket.disconnected(here))
	end)

	it("gives everything up to its end", function()
		send("a")
		local result = begin(socket.readall, here)
		socket.write(there, ("b"):rep(1000000))
		socket.close(there)
		local ok, data = result()
		assert.is_true(ok)
		assert.is_true(data == "a" .. ("b"):rep(1000000), #data)
	end)

	it("can be waited for without reading", function()
		local result = begin(socket.block, here)
		socket.write(there, "x")
		assert.same({ true, true }, { result() })
		assert.is_true(socket.block(here))
		assert.equal("x", socket.read(here))
		result = begin(socket.block, here)
		socket.close(there)
		assert.same({ true, false }, { result() })
	end)

	it("has one reader, and a reader that was killed is none", function()
		local _, co = begin(socket.read, here, 2)
		fails("another coroutine reads this socket", socket.read, here)
		fails("another coroutine reads this socket", socket.readline, here)
		skynet.killthread(co)
		send("x")
		local result = begin(socket.read, here, 2)
		socket.write(there, "y")
		assert.same({ true, "xy" }, { result() })
	end)

	it("is read by coroutines of all kinds", function()
		local result = begin(function()
			local inner = sc.wrap(function()
				local first = socket.read(here, 1)
				sc.yield(first)
				return socket.readline(here)
			end)
			return inner(), inner()
		end)
		socket.write(there, "a")
		skynet.sleep(1)
		socket.write(there, "b")
		skynet.sleep(1)
		socket.write(there, "c\n")
		assert.same({ true, "a", "bc" }, { result() })
	end)

	it("has a reader that skynet.wakeup wakes, and its next read gets the bytes", function()
		local woken
		local result, co = begin(function()
			woken = table.pack(socket.read(here, 3))
			return socket.read(here, 3)
		end)
		send("x")
		assert.is_true(skynet.wakeup(co))
		eventually(function()
			return woken
		end)
		assert.same({ false, "x", n = 2 }, woken)
		socket.write(there, "abc")
		assert.same({ true, "abc" }, { result() })
	end)

	it("is closed when too much waits that nobody reads", function()
		socket.limit(here, 1000)
		local result = begin(socket.read, here, 5000)
		socket.write(there, ("x"):rep(5000))
		local ok, data = result()
		assert.equal(5000, ok and #data)
		assert.is_false(socket.disconnected(here))
		socket.write(there, ("x"):rep(1001))
		eventually(function()
			return socket.disconnected(here)
		end)
	end)

	it("pauses when much waits, and no byte is lost", function()
		local N = 4 * 1024 * 1024
		for i = 1, N // 4096 do
			socket.write(there, ("%-16d"):format(i):rep(256))
		end
		eventually(function()
			return pool[here].paused
		end)
		assert.is_true(pool[here].unread > 128 * 1024)
		for i = 1, N // 4096 do
			assert.equal(("%-16d"):format(i):rep(256), socket.read(here, 4096))
		end
	end)

	it("ends for its reader first, then for all who close it", function()
		local order = {}
		local function note(what, f, ...)
			return begin(function(...)
				local a, b = f(...)
				order[#order + 1] = what
				return a, b
			end, ...)
		end
		send("left")
		local reader = note("reader", socket.read, here, 10)
		local first, second = note("close", socket.close, here), note("close", socket.close, here)
		assert.same({ true, false, "left" }, { reader() })
		assert.is_true((first()))
		assert.is_true((second()))
		assert.same({ "reader", "close", "close" }, order)
		assert.is_true(socket.invalid(here))
	end)

	it("may be closed while it's opened, which who opens it learns", function()
		local result = begin(socket.open, "127.0.0.1", port)
		local id
		for other, record in pairs(pool) do
			id = record.opening and other or id
		end
		socket.close(id)
		assert.same({ true, nil, "socket closed" }, { result() })
		assert.is_true(socket.invalid(id))
	end)

	it("can be given up, which its reader learns", function()
		local result = begin(socket.read, here)
		socket.abandon(here)
		assert.same({ true, false, "" }, { result() })
		assert.is_true(socket.invalid(here))
		fails("socket isn't held by this service", socket.read, here)
		socket.start(here)
		socket.write(there, "again")
		assert.equal("again", socket.read(here, 5))
	end)

	it("shows its data to who replaced the handler", function()
		local stock, seen = handlers[1], {}
		handlers[1] = function(id, size, block)
			if id == here then
				seen[#seen + 1] = skynet.tostring(block, size)
			end
			return stock(id, size, block)
		end
		local result = begin(socket.readline, here)
		socket.write(there, "through\n")
		local ok, line = result()
		handlers[1] = stock
		assert.equal("through", ok and line)
		assert.equal("through\n", table.concat(seen))
		result = begin(socket.readline, here)
		socket.write(there, "past\n")
		assert.same({ true, "past" }, { result() })
		assert.equal("through\n", table.concat(seen))
	end)

	it("is read from any depth, and errors pass through", function()
		local closed = 0
		local function deep(n, ...)
			local guard <close> = setmetatable({}, { __close = function()
				closed = closed + 1
			end })
			if n == 0 then
				return socket.read(here, 1) .. select("#", ...)
			end
			return deep(n - 1, n, ...) .. "" or guard
		end
		local result = begin(function()
			return deep(30), select(2, pcall(function()
				error(deep(3), 0)
			end))
		end)
		socket.write(there, "a")
		skynet.sleep(1)
		socket.write(there, "b")
		assert.same({ true, "a30", "b3" }, { result() })
		assert.equal(35, closed)
	end)

	it("has a killed reader's variables closed", function()
		local closed
		local _, co = begin(function()
			local guard <close> = setmetatable({}, { __close = function()
				closed = #debug.traceback()
			end })
			return socket.read(here), guard
		end)
		skynet.killthread(co)
		assert.is_truthy(closed)
	end)

	it("survives a message that only looks as if it came from it", function()
		local function forged(size, address)
			return string.pack("!8i4i4i4T", 1, here, size, address) -- struct skynet_socket_message
		end
		for _, address in ipairs { 0, 1, 65535 } do
			skynet.rawsend(skynet.self(), "socket", forged(5, address))
		end
		skynet.rawsend(skynet.self(), "socket", forged(-5, 1 << 20))
		local gone = skynet.newservice "echo"
		for _ = 1, 1000 do -- some are dropped unread
			skynet.rawsend(gone, "socket", forged(5, 1))
		end
		skynet.kill(gone)
		local result = begin(socket.read, here, 4)
		socket.write(there, "true")
		assert.same({ true, "true" }, { result() })
	end)

	it("refuses what isn't a number of bytes", function()
		fails("not a number of bytes", socket.read, here, -1)
		fails("number expected", socket.read, here, {})
		fails("socket isn't held by this service", socket.read, 1 << 40)
		fails("socket isn't held by this service", socket.readline, "no id")
		fails("socket isn't a connection", socket.read, listener)
	end)
end)

describe("connections that wait", function()
	it("take little memory, also when they have worked", function()
		local N, LITTLE = 400, 1000 -- bytes: both ends and the coroutine that reads one
		local listener, _, port = socket.listen("127.0.0.1", 0)
		local reading, ended, ends = 0, 0, {}
		local function used()
			for _ = 1, 3 do
				collectgarbage()
			end
			return collectgarbage "count" * 1024
		end
		socket.start(listener, function(id)
			skynet.fork(function()
				socket.start(id)
				repeat
					reading = reading + 1
				until not socket.read(id)
				socket.close(id)
				ended = ended + 1
			end)
		end)
		local before = used()
		for i = 1, N do
			ends[i] = assert(socket.open("127.0.0.1", port))
		end
		eventually(function()
			return reading == N
		end)
		assert.is_true((used() - before) / N < LITTLE, (used() - before) / N)
		for _, id in ipairs(ends) do
			socket.write(id, "x")
		end
		eventually(function()
			return reading == 2 * N
		end)
		assert.is_true((used() - before) / N < LITTLE, (used() - before) / N)
		for _, id in ipairs(ends) do
			socket.close(id)
		end
		eventually(function()
			return ended == N
		end)
		socket.close(listener)
	end)
end)
