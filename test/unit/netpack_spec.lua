-- Frames: what filter makes of each socket event, chunk by chunk, and pack's bytes.

local driver = require "skynet.socketdriver"
local memory = require "skynet.memory"
local netpack = require "skynet.netpack"

local DATA, CONNECT, CLOSE, ACCEPT, ERROR, UDP, WARNING = 1, 2, 3, 4, 5, 6, 7

local function address(pointer)
	return math.tointeger(tonumber(("%p"):format(pointer)))
end

-- A socket message as the engine makes it. filter takes the data block, we free the message.
local function event(queue, kind, id, ud, data, text)
	local block = 0
	if data then
		block = address(driver.str2p(data))
		ud = #data
	end
	local msg, size = driver.str2p(("i4i4i4xxxxj"):pack(kind, id, ud, block) .. (text or ""))
	local result = table.pack(netpack.filter(queue, msg, size))
	driver.drop(msg, size)
	return table.unpack(result, 1, result.n)
end

local function data(queue, id, bytes)
	local q, what, fd, msg, size = event(queue, DATA, id, 0, bytes)
	return q, what, fd, msg and netpack.tostring(msg, size)
end

-- All queued frames as { fd, text, fd, text, ... }.
local function drain(queue)
	local all = {}
	for fd, msg, size in netpack.pop, queue do
		all[#all + 1] = fd
		all[#all + 1] = netpack.tostring(msg, size)
	end
	return all
end

describe("netpack.pack", function()
	local function packed(...)
		return netpack.tostring(netpack.pack(...))
	end

	it("puts a big-endian length before the bytes", function()
		assert.equal("\0\0", packed "")
		assert.equal("\0\5hello", packed "hello")
		local z = ("z"):rep(65535)
		assert.equal("\xff\xff" .. z, packed(z))
		local p, n = driver.str2p "abc"
		assert.equal("\0\3abc", packed(p, n))
		assert.equal("abc", netpack.tostring(p, n))
	end)

	it("refuses more than 65,535 bytes and what isn't bytes", function()
		assert.error_matches(function() netpack.pack(("x"):rep(65536)) end,
			"Invalid size %(too long%) of data : 65536")
		assert.error(function() netpack.pack(nil) end)
		assert.error(function() netpack.pack({}) end)
	end)
end)

describe("netpack.tostring", function()
	it("is empty for NULL", function()
		local none = netpack.pop(nil)
		assert.is_nil(none)
		assert.error(function() netpack.tostring("x", 1) end)
	end)
end)

describe("netpack.filter", function()
	it("hands a single whole frame over at once", function()
		local q, what, fd, text = data(nil, 7, "\0\5hello")
		assert.same({ "data", 7, "hello" }, { what, fd, text })
		q, what, fd, text = data(q, 8, "\0\0")
		assert.same({ "data", 8, "" }, { what, fd, text })
		netpack.clear(q)
	end)

	it("joins frames over chunks as specified", function()
		local q, what = data(nil, 1, "\0\3ab")
		assert.is_nil(what)
		q, what = data(q, 1, "c\0\2x")
		assert.equal("more", what)
		assert.same({ 1, "abc" }, drain(q))
		local fd, text
		q, what, fd, text = data(q, 1, "y")
		assert.same({ "data", 1, "xy" }, { what, fd, text })
		netpack.clear(q)
	end)

	it("takes a header in two pieces, and keeps sockets apart", function()
		local q, what = data(nil, 1, "\0")
		assert.is_nil(what)
		local fd, text
		q = data(q, 2, "\1")
		q = data(q, 2, "\0" .. ("b"):rep(255))
		q, what, fd, text = data(q, 1, "\1a")
		assert.same({ "data", 1, "a" }, { what, fd, text })
		q, what, fd, text = data(q, 2, "b")
		assert.same({ "data", 2, ("b"):rep(256) }, { what, fd, text })
		netpack.clear(q)
	end)

	it("says more for several frames, and keeps their order past any growth", function()
		local parts, expected = {}, {}
		for i = 1, 3000 do
			parts[i] = (">s2"):pack("n" .. i)
			expected[#expected + 1] = 5
			expected[#expected + 1] = "n" .. i
		end
		local q, what = data(nil, 5, table.concat(parts))
		assert.equal("more", what)
		assert.same(expected, drain(q))
		assert.is_nil(netpack.pop(q))
		netpack.clear(q)
	end)

	it("keeps what is queued before a single frame", function()
		local q, what = data(nil, 1, "\0\1a\0\1b")
		assert.equal("more", what)
		q, what = data(q, 2, "\0\1c")
		assert.equal("more", what)
		assert.same({ 1, "a", 1, "b", 2, "c" }, drain(q))
		netpack.clear(q)
	end)

	it("names the other events", function()
		local function names(...)
			return table.pack(select(2, event(nil, ...)))
		end
		assert.same({ n = 3, "open", 9, "127.0.0.1:80" }, names(ACCEPT, 3, 9, nil, "127.0.0.1:80"))
		assert.same({ n = 2, "close", 3 }, names(CLOSE, 3, 0))
		assert.same({ n = 3, "error", 3, "Connection reset" }, names(ERROR, 3, 0, nil, "Connection reset"))
		assert.same({ n = 3, "warning", 3, 1024 }, names(WARNING, 3, 1024))
		assert.same({ n = 4, "init", 3, "127.0.0.1", 8888 }, names(CONNECT, 3, 8888, nil, "127.0.0.1"))
		assert.same({ n = 0 }, names(UDP, 3, 0, "datagram"))
	end)

	it("tells whose half frame is late, once, and drops it", function()
		local q = data(nil, 7, "\0\5he")
		data(q, 8, "\0")
		assert.same({}, netpack.late(q, 100000))
		local late = netpack.late(q, 0)
		table.sort(late)
		assert.same({ 7, 8 }, late)
		assert.same({}, netpack.late(q, 0))
		local _, what, fd, text = data(q, 7, "\0\3new")
		assert.same({ "data", 7, "new" }, { what, fd, text })
		assert.same({}, netpack.late(nil, 0))
		assert.error(function() netpack.late({}, 0) end)
		assert.error(function() netpack.late(q, -1) end)
	end)

	it("passes on what a raw socket receives, and cuts the others' frames", function()
		local q = netpack.raw(data(nil, 8, "\0\5he"), 7)
		local function raw(id, bytes)
			local _, what, fd, text = data(q, id, bytes)
			return { what, fd, text }
		end
		assert.same({ "data", 7, "\0\5he" }, raw(7, "\0\5he"))
		assert.same({ "data", 7, "\0\1x\0\1y" }, raw(7, "\0\1x\0\1y"))
		assert.same({ "data", 8, "hello" }, raw(8, "llo"))
		assert.same({}, netpack.late(q, 0))
		event(q, CLOSE, 7, 0)
		assert.same({ "data", 7, "z" }, raw(7, "\0\1z"))
		assert.equal("skynet.netpack.queue", getmetatable(netpack.raw(nil, 3)).__name)
		assert.error(function() netpack.raw(q) end)
	end)

	it("drops a half frame on close and on error", function()
		for _, kind in ipairs { CLOSE, ERROR } do
			local q = data(nil, 1, "\0\5he")
			event(q, kind, 1, 0, nil, "")
			local _, what, _, text = data(q, 1, "\0\1x")
			assert.same({ "data", "x" }, { what, text })
			netpack.clear(q)
		end
	end)

	it("drops everything on clear", function()
		local q = data(nil, 1, "\0\1a\0\1b\0\5he")
		netpack.clear(q)
		assert.is_nil(netpack.pop(q))
		local _, what, _, text = data(q, 1, "\0\1x")
		assert.same({ "data", "x" }, { what, text })
		netpack.clear(q)
		netpack.clear(nil)
	end)

	it("doesn't take memory for what is only announced", function()
		local before = memory.total()
		local q
		for id = 1, 1000 do
			q = data(q, id, "\xff\xff")
		end
		assert.is_true(memory.total() - before < 1000 * 1000)
		netpack.clear(q)
	end)

	it("refuses arguments that aren't a socket message", function()
		assert.error(function() netpack.filter(nil, "text", 4) end)
		assert.error(function() netpack.filter(nil, nil, 24) end)
		local p, n = driver.str2p "short"
		assert.error(function() netpack.filter(nil, p, n) end)
		driver.drop(p, n)
	end)
end)
