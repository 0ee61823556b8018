-- Peers that never read: a socket's send limit, and what becomes of a closed socket's rest.
-- config: socket_linger = 1

local eventually = require "eventually"
local driver = require "skynet.socketdriver"
local skynet = require "skynet"
local socket = require "skynet.socket"

local MIB = 1024 * 1024

-- A listener whose connections nobody reads; returns its id, its port, and the connections.
local function deaf_server()
	local accepted = {}
	local id, _, port = socket.listen("127.0.0.1", 0)
	socket.start(id, function(client)
		socket.start(client)
		socket.pause(client)
		accepted[#accepted + 1] = client
	end)
	return id, port, accepted
end

local function info(id)
	for _, s in ipairs(driver.info()) do
		if s.id == id then
			return s
		end
	end
end

describe("a peer that never reads", function()
	local listener, port, accepted

	before_each(function()
		listener, port, accepted = deaf_server()
	end)

	after_each(function()
		socket.close(listener)
		for _, id in ipairs(accepted) do
			socket.shutdown(id)
		end
	end)

	it("costs the socket's limit, then the socket is closed and its reader woken", function()
		local id = assert(socket.open("127.0.0.1", port))
		socket.sendlimit(id, 2 * MIB)
		assert.equal(2 * MIB, info(id).wlimit)
		local ended
		skynet.fork(function()
			ended = socket.read(id, 1) == false
		end)
		local text = ("x"):rep(MIB)
		local written = 0
		while written < 100 and info(id) do
			socket.write(id, text)
			written = written + 1
			assert.is_true((info(id) or { wbuffer = 0 }).wbuffer <= 3 * MIB)
			skynet.yield()
		end
		assert.is_true(written < 100)
		eventually(function() return ended end)
		socket.close(id)
	end)

	it("costs nothing more when the limit is set too late: the socket goes at once", function()
		local id = assert(socket.open("127.0.0.1", port))
		socket.write(id, ("x"):rep(32 * MIB))
		eventually(function() return info(id) and info(id).wbuffer > MIB end)
		socket.sendlimit(id, MIB)
		assert.is_nil(info(id))
		socket.close(id)
	end)

	it("is harmless without a limit, and for a limit that isn't reached", function()
		local id = assert(socket.open("127.0.0.1", port))
		assert.is_nil(info(id).wlimit)
		socket.sendlimit(id, 64 * MIB)
		socket.write(id, ("x"):rep(32 * MIB))
		eventually(function() return accepted[1] and info(id).wbuffer > MIB end)
		local got = 0
		while got < 32 * MIB do
			got = got + #assert(socket.read(accepted[1]))
		end
		eventually(function() return info(id).wbuffer == 0 end)
		socket.close(id)
	end)

	it("takes a listener's limit for what it accepts", function()
		socket.sendlimit(listener, 5 * MIB)
		local id = assert(socket.open("127.0.0.1", port))
		eventually(function() return accepted[1] and info(accepted[1]) end)
		assert.equal(5 * MIB, info(accepted[1]).wlimit)
		socket.close(id)
	end)

	it("is given up when the socket was closed and nothing leaves for a while", function()
		local id = assert(socket.open("127.0.0.1", port))
		socket.write(id, ("x"):rep(32 * MIB))
		socket.close(id)
		assert.equal("CLOSING", info(id).type)
		eventually(function() return not info(id) end)
	end)

	it("refuses a limit that is none", function()
		assert.is_false((pcall(socket.sendlimit, 1, -1)))
		assert.is_false((pcall(socket.sendlimit, 1, "x")))
	end)
end)
