-- Multicast: channels, subscribers that die, packages that must not leak, other nodes.

local eventually = require "eventually"
local skynet = require "skynet"
local core = require "skynet.multicast.core"
local datacenter = require "skynet.datacenter"
local multicast = require "skynet.multicast"
require "skynet.manager"

local function fails(text, f, ...)
	local ok, err = pcall(f, ...)
	assert.is_false(ok)
	assert.equal(text, tostring(err):sub(-#text))
end

local function no_packages()
	for _ = 1, 200 do
		collectgarbage()
		if core.count() == 0 then
			return
		end
		skynet.sleep(10)
	end
	error(("%d packages are left"):format(core.count()))
end

-- A channel object that notes what it receives.
local function recorder(id)
	local got = {}
	return multicast.new {
		channel = id,
		dispatch = function(self, source, ...)
			got[#got + 1] = table.pack(self.channel, source, ...)
		end,
	}, got
end

local function remote_subscriber(id)
	local s = skynet.newservice "remote"
	skynet.call(s, "lua", [[
		local multicast = require "skynet.multicast"
		got = {}
		channel = multicast.new {
			channel = ...,
			dispatch = function(_, _, ...) got[#got + 1] = { ... } end,
		}
		channel:subscribe()
	]], id)
	return s
end

describe("skynet.multicast", function()
	it("numbers channels by 256", function()
		local a, b = multicast.new(), multicast.new()
		assert.equal(0, a.channel & 0xff)
		assert.equal(a.channel + 256, b.channel)
		assert.equal(("[Multicast:%x]"):format(b.channel), tostring(b))
		a:delete()
		b:delete()
	end)

	it("delivers to subscribers, the publisher included", function()
		local channel, got = recorder()
		local others = {}
		for i = 1, 5 do
			others[i] = remote_subscriber(channel.channel)
		end
		channel:subscribe()
		channel:subscribe()
		channel:publish("hello", 1, { x = { 2 } })
		channel:publish()
		eventually(function() return #got == 2 end)
		assert.same({ channel.channel, skynet.self(), "hello", 1, { x = { 2 } }, n = 5 }, got[1])
		assert.equal(2, got[2].n)
		for _, s in ipairs(others) do
			eventually(function() return skynet.call(s, "lua", "return #got") == 2 end)
			assert.same({ "hello", 1, { x = { 2 } } }, skynet.call(s, "lua", "return got[1]"))
			skynet.kill(s)
		end
		no_packages()
		channel:delete()
	end)

	it("keeps the order of a publisher", function()
		local channel, got = recorder()
		channel:subscribe()
		for i = 1, 500 do
			channel:publish(i)
		end
		eventually(function() return #got == 500 end)
		for i = 1, 500 do
			assert.equal(i, got[i][3])
		end
		channel:delete()
	end)

	it("stops at unsubscribe, also for a forgotten object", function()
		local channel, got = recorder()
		channel:subscribe()
		channel:unsubscribe()
		channel:unsubscribe()
		channel:publish "nobody hears"
		do
			local other = recorder(channel.channel)
			other:subscribe()
			other = nil -- luacheck: ignore
		end
		collectgarbage()
		collectgarbage()
		local info = skynet.call(skynet.uniqueservice "multicastd", "debug", "INFO")
		assert.truthy(info[("%x"):format(channel.channel)]:find "^0 sub")
		no_packages()
		assert.equal(0, #got)
		channel:delete()
	end)

	it("gives a channel's messages to the object that subscribed last", function()
		local first, got1 = recorder()
		local second, got2 = recorder(first.channel)
		first:subscribe()
		second:subscribe()
		first:unsubscribe() -- isn't receiving: the other one stays
		first:publish "x"
		eventually(function() return #got2 == 1 end)
		assert.equal(0, #got1)
		first:delete()
	end)

	it("ends with delete", function()
		local channel, got = recorder()
		local other = recorder(channel.channel)
		local late = recorder(channel.channel)
		channel:subscribe()
		channel:delete()
		assert.is_nil(channel.channel)
		fails("assertion failed!", channel.publish, channel, 1)
		fails("assertion failed!", channel.subscribe, channel)
		fails("assertion failed!", channel.delete, channel)
		channel:unsubscribe()
		other:publish "dropped"
		fails("call failed", late.subscribe, late)
		other:unsubscribe()
		other:delete()
		no_packages()
		assert.equal(0, #got)
	end)

	it("packs and unpacks as it's told", function()
		local got
		local channel = multicast.new {
			pack = function(s)
				return skynet.pack(s:upper())
			end,
			unpack = function(msg, sz)
				return (skynet.unpack(msg, sz)):rep(2)
			end,
			dispatch = function(_, _, s)
				got = s
			end,
		}
		channel:subscribe()
		channel:publish "ab"
		eventually(function() return got end)
		assert.equal("ABAB", got)
		channel:delete()
		local text = multicast.new { pack = function(s) return s end, unpack = skynet.tostring,
			dispatch = function(_, _, s) got = s end }
		text:subscribe()
		text:publish "plain text"
		eventually(function() return got == "plain text" end)
		text:delete()
	end)

	it("logs an error of a receiver and goes on", function()
		local n = 0
		local channel = multicast.new {
			dispatch = function()
				n = n + 1
				error "the receiver fails"
			end,
		}
		channel:subscribe()
		channel:publish()
		channel:publish()
		eventually(function() return n == 2 end)
		no_packages()
		channel:delete()
	end)

	it("frees what subscribers leave unread when they die, and forgets them", function()
		local channel, got = recorder()
		channel:subscribe()
		local dying = {}
		for i = 1, 10 do
			dying[i] = remote_subscriber(channel.channel)
			-- busy until it's killed: messages pile up behind this one
			skynet.send(dying[i], "lua", "local t = skynet.hpc() + 3e8 while skynet.hpc() < t do end")
		end
		for i = 1, 100 do
			channel:publish(("x"):rep(1000), i)
		end
		for _, s in ipairs(dying) do
			skynet.kill(s)
		end
		channel:publish "last"
		eventually(function() return #got == 101 end)
		no_packages()
		local info = skynet.call(skynet.uniqueservice "multicastd", "debug", "INFO")
		assert.truthy(info[("%x"):format(channel.channel)]:find "^1 sub")
		channel:delete()
	end)

	it("forgets dead subscribers also when nothing is published", function()
		local channel = multicast.new()
		for _ = 1, 40 do
			skynet.kill(remote_subscriber(channel.channel))
		end
		local info = skynet.call(skynet.uniqueservice "multicastd", "debug", "INFO")
		local n = tonumber(info[("%x"):format(channel.channel)]:match "^%d+")
		assert.truthy(n < 20, n)
		channel:delete()
	end)

	it("doesn't disturb a call whose session is a channel's number", function()
		-- a dead subscriber's messages used to come back as errors of that session
		local channel = multicast.new()
		local victim = remote_subscriber(channel.channel)
		local slow = skynet.newservice "echo"
		skynet.send(victim, "lua", "local t = skynet.hpc() + 2e8 while skynet.hpc() < t do end")
		channel:publish "unread"
		skynet.kill(victim)
		local answers = 0
		for _ = 1, 600 do
			skynet.fork(function()
				if pcall(skynet.call, slow, "lua", "echo", 1) then
					answers = answers + 1
				end
			end)
		end
		eventually(function() return answers == 600 end)
		skynet.kill(slow)
		channel:delete()
	end)
end)

describe("a channel of another node", function()
	-- a stand-in for that node's multicast service; its address is local, so its node is 0 here
	local node = skynet.newservice "remote"
	local id = 3 * 256 + 9
	datacenter.set("multicast", 9, node)
	skynet.call(node, "lua", [[
		asked, sent = {}, {}
		local own = skynet.dispatch "lua"
		skynet.dispatch("lua", function(session, source, cmd, ...)
			if cmd == "SUBR" or cmd == "USUBR" or cmd == "DELR" then
				asked[#asked + 1] = cmd .. (...)
				if session ~= 0 then skynet.retpack() end
			else
				own(session, source, cmd, ...)
			end
		end)
		skynet.register_protocol {
			name = "multicast", id = skynet.PTYPE_MULTICAST,
			unpack = function(msg, sz) return skynet.tostring(msg, sz) end,
			dispatch = function(session, source, text)
				skynet.ignoreret()
				sent[#sent + 1] = { session, source, text }
			end,
		}
	]])
	local function asked()
		return skynet.call(node, "lua", "local t = table.concat(asked, ' ') asked = {} return t")
	end

	it("is subscribed there once, published there, delivered here", function()
		local channel, got = recorder(id)
		local other = remote_subscriber(id)
		channel:subscribe()
		assert.equal("SUBR777", asked())
		channel:publish("over", 1)
		local sent = eventually(function()
			return skynet.call(node, "lua", "return sent[1]")
		end)
		assert.same({ id, skynet.self(), skynet.packstring("over", 1) }, sent)
		-- the node sends to everybody who subscribed, here as well
		local service = skynet.uniqueservice "multicastd"
		skynet.redirect(service, skynet.self(), "multicast", id, skynet.packstring("over", 1))
		eventually(function() return #got == 1 end)
		assert.same({ id, skynet.self(), "over", 1, n = 4 }, got[1])
		eventually(function() return skynet.call(other, "lua", "return #got") == 1 end)
		channel:unsubscribe()
		skynet.kill(other)
		skynet.redirect(service, skynet.self(), "multicast", id, "x")
		eventually(function() return asked() == "USUBR777" end)
		channel:delete()
		eventually(function() return asked() == "DELR777" end)
		no_packages()
	end)

	it("sends raw data to nodes that subscribed to one of ours", function()
		local service = skynet.uniqueservice "multicastd"
		local channel = multicast.new()
		skynet.call(node, "lua", "sent = {} skynet.call(..., 'lua', 'SUBR', select(2, ...))",
			service, channel.channel)
		channel:publish "to all"
		local sent = eventually(function()
			return skynet.call(node, "lua", "return sent[1]")
		end)
		assert.same({ channel.channel, skynet.self(), skynet.packstring "to all" }, sent)
		local number = channel.channel
		channel:delete()
		eventually(function() return asked() == "DELR" .. number end)
	end)
end)

describe("skynet.multicast.core", function()
	it("binds once", function()
		local cell, size = core.pack(skynet.pack "x")
		assert.equal(8, size)
		local package = core.bind(cell, 2)
		fails("Can't bind a multicast package more than once", core.bind, cell, 1)
		assert.is_false((pcall(core.remote, cell)))
		assert.is_false((pcall(core.text, cell)))
		core.close(package)
		core.close(package)
		assert.is_false((pcall(core.close, package)))
		no_packages()
	end)

	it("gives the data of a cell back", function()
		local ptr, size = core.remote((core.packremote("some text")))
		assert.equal("some text", skynet.tostring(ptr, size))
		skynet.trash(ptr, size)
		ptr, size = core.remote((core.pack(skynet.pack(1, 2))))
		assert.same({ 1, 2 }, { skynet.unpack(ptr, size) })
		skynet.trash(ptr, size)
		no_packages()
	end)

	it("keeps data that is being read", function()
		local cell = core.pack(skynet.pack "read")
		local package, ptr, size = core.unpack(cell, 8)
		assert.is_false((pcall(core.remote, cell)))
		core.close(core.bind(cell, 1))
		assert.equal("read", skynet.unpack(ptr, size))
		core.close(package)
		assert.is_false((pcall(core.close, package)))
		no_packages()
	end)

	it("checks its arguments", function()
		local cell = core.pack(skynet.pack "x")
		fails("Invalid multicast package size 7", core.unpack, cell, 7)
		fails("Size should be 32bit integer", core.pack, cell, 1 << 32)
		fails("Size should be 32bit integer", core.packremote, cell, -1)
		assert.is_false((pcall(core.bind, cell, -1)))
		assert.is_false((pcall(core.bind, cell)))
		core.bind(cell, 0)
		for _, name in ipairs { "pack", "packremote", "unpack", "bind", "remote", "close", "text",
			"deliver", "nextid", "alive" } do
			for _, bad in ipairs { {}, true, print, io.stdout, 1.5 } do
				assert.is_false((pcall(core[name], bad, bad)), name)
			end
			assert.is_false((pcall(core[name])), name)
		end
		no_packages()
	end)

	it("counts channel ids in 31 bits", function()
		assert.equal(256, core.nextid(0))
		assert.equal(0x105, core.nextid(5))
		assert.equal(5, core.nextid(0x7fffff05))
	end)
end)
