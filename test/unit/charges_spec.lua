-- What `cmem` shows: a service is charged what it holds, and not what passed through it.

local cluster = require "skynet.cluster"
local memory = require "skynet.memory"
local parallel = require "parallel"
local skynet = require "skynet"
local socket = require "skynet.socket"

local SOME = 300
local text = ("x"):rep(1000)

describe("a service's memory charge", function()
	local peer, port

	setup(function()
		peer = skynet.newservice "charged"
		port = skynet.call(peer, "lua", "port")
	end)

	teardown(function()
		skynet.send(peer, "lua", "exit")
	end)

	-- Who holds more, or less, after SOME more operations? Tables have grown in the first ones.
	local function returns(operation)
		local before
		local function settle()
			collectgarbage()
			skynet.sleep(5)
			return memory.info()
		end
		for _ = 1, 2 do
			operation()
			before = settle()
		end
		operation()
		local drift = {}
		for _ = 1, 200 do -- what is under way still comes back
			drift = {}
			for handle, bytes in pairs(settle()) do
				local each = before[handle] and math.abs(bytes - before[handle]) / SOME or 0
				if each >= 2 then
					drift[skynet.address(handle)] = each
				end
			end
			if next(drift) == nil then
				return
			end
		end
		assert.same({}, drift)
	end

	local function times(f)
		return function()
			for i = 1, SOME do
				f(i)
			end
		end
	end

	it("is the same after calls and sends", function()
		returns(times(function(i)
			assert.equal(text, skynet.call(peer, "lua", "echo", text))
			skynet.send(peer, "lua", "note", i, text)
		end))
		returns(function()
			parallel(SOME, function()
				skynet.call(peer, "lua", "sleep")
			end)
		end)
	end)

	it("is the same after messages it handed on", function()
		local forwarder = skynet.newservice("charged", "forwarder", peer)
		returns(times(function()
			assert.equal(text, skynet.call(forwarder, "lua", "echo", text))
		end))
	end)

	it("is the same after timers and coroutines", function()
		returns(function()
			for _ = 1, SOME do
				skynet.timeout(1, function() end)
				skynet.fork(skynet.sleep, 1)
			end
			skynet.sleep(5)
		end)
	end)

	it("is the same after starting services", function()
		returns(times(function()
			skynet.send(skynet.newservice "charged", "lua", "exit")
		end))
	end)

	it("is the same after connections and what they carried", function()
		returns(times(function()
			local id = assert(socket.open("127.0.0.1", port))
			socket.write(id, "hello")
			assert.equal("hello", socket.read(id, 5))
			socket.close(id)
		end))
		local id = assert(socket.open("127.0.0.1", port))
		local large = text:rep(100)
		returns(times(function()
			socket.write(id, large)
			assert.equal(large, socket.read(id, #large))
			socket.lwrite(id, text)
			assert.equal(text, socket.read(id, #text))
		end))
		socket.close(id)
	end)

	it("is the same after cluster calls, of every size", function()
		local name = "charges"
		local _, at = cluster.open(0)
		cluster.reload { [name] = "127.0.0.1:" .. at }
		local huge = text:rep(100)
		returns(times(function()
			assert.equal(text, cluster.call(name, peer, "echo", text))
			cluster.send(name, peer, "note", text)
			assert.equal(huge, cluster.call(name, peer, "echo", huge))
		end))
	end)
end)
