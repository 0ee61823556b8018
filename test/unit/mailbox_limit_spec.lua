-- skynet.mqlimit: what doesn't get into a full mailbox, what does, and who is told.

local ledger = require "ledger"
local skynet = require "skynet"
require "skynet.manager"

describe("a mailbox with a limit", function()
	local service

	local function hold()
		ledger.set(200, 0)
		ledger.set(201, 0)
		skynet.send(service, "lua", "hold")
		while ledger.get(200) == 0 do
			skynet.sleep(1)
		end
	end

	-- Returns what `stat` says once all that got in has been handled.
	local function let_go()
		ledger.set(201, 1)
		return skynet.call(service, "debug", "STAT")
	end

	before_each(function()
		service = skynet.newservice "limited"
	end)

	after_each(function()
		ledger.set(201, 1)
		skynet.kill(service)
	end)

	it("rejects: sends are false, calls fail at once, and stat tells", function()
		skynet.call(service, "lua", "limit", 5)
		hold()
		for _ = 1, 5 do
			assert.truthy(skynet.send(service, "lua", "add"))
		end
		assert.is_false(skynet.send(service, "lua", "add"))
		assert.is_false(skynet.rawsend(service, "lua", skynet.pack "add"))
		local ok, err = pcall(skynet.call, service, "lua", "get")
		assert.is_false(ok)
		assert.truthy(err:find "call failed: the mailbox of :%x+ is full")
		local stat = let_go()
		assert.equal(5, (skynet.call(service, "lua", "get")))
		assert.equal(5, stat.mqlimit)
		assert.equal(3, stat.turned)
	end)

	it("drops: sends vanish, calls still fail", function()
		skynet.call(service, "lua", "limit", 3, "drop")
		hold()
		for _ = 1, 10 do
			assert.truthy(skynet.send(service, "lua", "add"))
		end
		assert.is_false((pcall(skynet.call, service, "lua", "get")))
		let_go()
		assert.equal(3, (skynet.call(service, "lua", "get")))
		assert.equal(8, skynet.call(service, "debug", "STAT").turned)
	end)

	it("lets answers and debug messages in", function()
		local asked
		skynet.dispatch("lua", function()
			asked = skynet.response()
		end)
		skynet.call(service, "lua", "ask", skynet.self())
		while not asked do
			skynet.sleep(1)
		end
		skynet.call(service, "lua", "limit", 1)
		hold()
		skynet.send(service, "lua", "add")
		assert.is_false(skynet.send(service, "lua", "add"))
		asked(true, "yes")
		local stat
		skynet.fork(function()
			stat = skynet.call(service, "debug", "STAT")
		end)
		skynet.yield()
		let_go()
		local _, answer = skynet.call(service, "lua", "get")
		while not stat do
			skynet.sleep(1)
		end
		assert.equal("yes", answer)
		assert.equal(1, stat.turned)
	end)

	it("is lifted by 0, and has no effect unless asked for", function()
		assert.is_nil(skynet.call(service, "debug", "STAT").mqlimit)
		skynet.call(service, "lua", "limit", 1)
		skynet.call(service, "lua", "limit", 0)
		hold()
		for _ = 1, 100 do
			assert.truthy(skynet.send(service, "lua", "add"))
		end
		let_go()
		assert.equal(100, (skynet.call(service, "lua", "get")))
	end)

	it("refuses limits that make no sense", function()
		for _, bad in ipairs { { -1 }, { 65536 }, { 1.5 }, { "1" }, { 1, "lose" } } do
			assert.is_false((pcall(skynet.mqlimit, table.unpack(bad))))
		end
	end)
end)
