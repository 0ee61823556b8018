-- Large numbers: what they hold is given back, and nobody is forgotten. (With the sanitizers' own
-- allocator memory isn't counted: all totals are 0.)

local eventually = require "eventually"
local ledger = require "ledger"
local memory = require "skynet.memory"
local parallel = require "parallel"
local skynet = require "skynet"
local socket = require "skynet.socket"
require "skynet.manager"

describe("a crowd", function()
	it("of a million messages in one mailbox leaves no memory behind", function()
		local MANY = 1000000
		local service = skynet.newservice "limited"
		ledger.set(200, 0)
		ledger.set(201, 0)
		skynet.send(service, "lua", "hold")
		eventually(function()
			return ledger.get(200) == 1
		end, "it isn't held")
		local text = ("x"):rep(64)
		local before = memory.total()
		for _ = 1, MANY do
			skynet.send(service, "lua", "add", text)
		end
		local full = memory.total()
		ledger.set(201, 1)
		assert.is_true(full == 0 or full - before > MANY * 64, "a million messages took next to nothing")
		assert.equal(MANY, (skynet.call(service, "lua", "get")))
		eventually(function()
			collectgarbage()
			return memory.total() - before <= (full - before) // 20
		end, "the memory doesn't return")
		skynet.kill(service)
	end)

	it("of 100,000 values in one message leaves no large stack behind", function()
		local service = skynet.newservice "echo"
		local function kilobytes()
			skynet.send(service, "debug", "GC")
			return (skynet.call(service, "debug", "MEM"))
		end
		local values = {}
		for i = 1, 100000 do
			values[i] = i
		end
		local before = kilobytes()
		assert.equal(100000, select("#", skynet.call(service, "lua", "echo", table.unpack(values))))
		eventually(function()
			return kilobytes() - before < 100
		end, "the stack stays")
		skynet.kill(service)
	end)

	it("of 20,000 services answers, and leaves no memory behind", function()
		local MANY = 20000
		skynet.kill(skynet.newservice "limited") -- its code stays
		local before = memory.total()
		local all = {}
		for i = 1, MANY do
			all[i] = skynet.newservice "limited"
		end
		parallel(MANY, function(i)
			skynet.send(all[i], "lua", "add")
			assert.equal(1, (skynet.call(all[i], "lua", "get")))
		end)
		local full = memory.total()
		for i = 1, MANY do
			skynet.kill(all[i])
		end
		all = nil
		eventually(function()
			collectgarbage()
			return memory.total() - before <= (full - before) // 20
		end, "the memory doesn't return")
	end)

	it("of 5,000 busy connections gets every byte, and leaves no socket behind", function()
		local f <close> = assert(io.open "/proc/self/limits")
		local descriptors = tonumber(f:read("a"):match "Max open files%s+(%d+)")
		local many = math.min(5000, (descriptors - 200) // 2)
		local sockets = #socket.netstat()
		local listener, _, port = socket.listen("127.0.0.1", 0, 1024)
		socket.start(listener, function(id)
			socket.start(id)
			while true do
				local text = socket.readline(id)
				if not text then
					return socket.close(id)
				end
				socket.write(id, text .. "\n")
			end
		end)
		local clients = {}
		parallel(many, function(i)
			clients[i] = assert(socket.open("127.0.0.1", port))
		end)
		parallel(many, function(i)
			for round = 1, 10 do
				local text = ("%d of %d"):format(round, i)
				socket.write(clients[i], text .. "\n")
				assert.equal(text, socket.readline(clients[i]))
			end
			socket.close(clients[i])
		end)
		socket.close(listener)
		eventually(function()
			return #socket.netstat() == sockets
		end, "sockets are left")
	end)
end)
