-- What STAT shows of limits that were set: how near they are.
-- config: cluster_max_pending = 5

local eventually = require "eventually"
local cluster = require "skynet.cluster"
local skynet = require "skynet"
local socket = require "skynet.socket"
require "skynet.manager"

local function stat(address)
	return skynet.call(address, "debug", "STAT")
end

-- This service is its watchdog.
local function open_gate(frame_time)
	local gate = skynet.newservice "gate"
	local _, port = skynet.call(gate, "lua", "open",
		{ address = "127.0.0.1", port = 0, watchdog = skynet.self(), frame_time = frame_time })
	return gate, port
end

describe("STAT", function()
	it("shows a gate's frame_time, and half frames", function()
		local fd
		local previous = skynet.dispatch("lua", function(_, _, cmd, event, id)
			fd = cmd == "socket" and event == "open" and id or fd
		end)
		local gate, port = open_gate(100000)
		assert.equal(100000, stat(gate).frame_time)
		assert.equal(0, stat(gate).half)
		local id = assert(socket.open("127.0.0.1", port))
		eventually(function()
			return fd
		end)
		skynet.call(gate, "lua", "accept", fd)
		socket.write(id, "\0\5ab")
		eventually(function()
			return stat(gate).half == 1
		end)
		socket.write(id, "cde")
		eventually(function()
			return stat(gate).half == 0
		end)
		socket.close(id)
		skynet.kill(gate)
		skynet.dispatch("lua", previous or function() end)
	end)

	it("shows nothing of limits that aren't set", function()
		local gate = open_gate()
		local shown = stat(gate)
		assert.is_nil(shown.frame_time or shown.half or shown.mqlimit or shown.max_pending)
		skynet.kill(gate)
	end)

	it("shows what is pending for a node, and cluster_max_pending", function()
		-- it accepts, and never answers
		local listener, _, port = socket.listen("127.0.0.1", 0)
		local accepted
		socket.start(listener, function(id)
			socket.start(id)
			accepted = id
		end)
		cluster.reload { silent = "127.0.0.1:" .. port }
		local ended = 0
		for _ = 1, 3 do
			skynet.fork(function()
				pcall(cluster.call, "silent", "@nobody", "x")
				ended = ended + 1
			end)
		end
		eventually(function()
			return accepted
		end)
		local sender = cluster.get_sender "silent"
		assert.equal(5, stat(sender).max_pending)
		eventually(function()
			return stat(sender).pending == 3
		end)
		socket.close(accepted)
		eventually(function()
			return ended == 3
		end)
		assert.equal(0, stat(sender).pending)
		socket.close(listener)
	end)
end)
