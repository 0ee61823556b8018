-- stm: versions, copies that are used twice or forged, who dies first.

local skynet = require "skynet"
local memory = require "skynet.memory"
local stm = require "skynet.stm"
require "skynet.manager"

local function read(msg, sz, ud)
	return ud, skynet.unpack(msg, sz)
end

describe("skynet.stm", function()
	it("shows each version once, and only the last", function()
		local w = stm.new(skynet.pack(1, "one"))
		local r = stm.newcopy(stm.copy(w))
		assert.same({ true, "ud", 1, "one", n = 4 }, table.pack(r(read, "ud")))
		assert.same({ false, n = 1 }, table.pack(r(read)))
		w(skynet.pack(2))
		w(skynet.pack(3))
		assert.same({ true, nil, 3, n = 3 }, table.pack(r(read)))
		assert.is_false((r(read)))
		local late = stm.newcopy(stm.copy(w))
		assert.same({ true, nil, 3, n = 3 }, table.pack(late(read)))
	end)

	it("takes strings, and empty messages", function()
		local w = stm.new "text"
		local r = stm.newcopy(stm.copy(w))
		assert.same({ true, "text" }, { r(skynet.tostring) })
		w ""
		assert.same({ true, "" }, { r(skynet.tostring) })
		w(skynet.pack())
		assert.same({ true }, { r(skynet.unpack) })
	end)

	it("ends with its writer", function()
		local w = stm.new "x"
		local r = stm.newcopy(stm.copy(w))
		local unused = stm.copy(w)
		w = nil -- luacheck: ignore
		collectgarbage()
		collectgarbage()
		assert.is_false((r(read)))
		assert.is_false((stm.newcopy(unused)(read)))
	end)

	it("refuses copies that were used, and forged ones", function()
		local w = stm.new "x"
		local copy = stm.copy(w)
		stm.newcopy(copy)
		local ok, err = pcall(stm.newcopy, copy)
		assert.is_false(ok)
		assert.truthy(err:find("used already", 1, true), err)
		local ptr, sz = skynet.pack "x"
		assert.is_false((pcall(stm.newcopy, ptr)))
		skynet.trash(ptr, sz)
		assert.is_false((pcall(stm.newcopy, skynet.unpack("\3" .. ("\0"):rep(8)))))
		assert.is_false((pcall(stm.newcopy, skynet.unpack("\3" .. ("\xd3"):rep(8)))))
	end)

	it("checks its arguments", function()
		local w = stm.new "x"
		local r = stm.newcopy(stm.copy(w))
		for _, bad in ipairs { 1, true, {}, print, io.stdout } do
			assert.is_false((pcall(stm.new, bad, 1)))
			assert.is_false((pcall(stm.copy, bad)))
			assert.is_false((pcall(stm.newcopy, bad)))
			assert.is_false((pcall(w, bad, 1)))
		end
		assert.is_false((pcall(stm.new)))
		assert.is_false((pcall(stm.copy, r)))
		assert.is_false((pcall(stm.new, skynet.unpack("\3" .. ("\0"):rep(8)), 5)))
		assert.is_false((pcall(r)))
		assert.is_false((pcall(r, 5)))
		assert.is_false((pcall(getmetatable(r).__call, w, read)))
		assert.is_false((pcall(getmetatable(w).__call, r, "x")))
	end)

	it("keeps a version while it's looked at", function()
		local w = stm.new(("a"):rep(1000))
		local r = stm.newcopy(stm.copy(w))
		local _, first, inner, again = r(function(msg, sz)
			w(("b"):rep(1000))
			local _, text = r(skynet.tostring)
			for _ = 1, 100 do
				w(("c"):rep(1000))
			end
			return skynet.tostring(msg, sz), text, skynet.tostring(msg, sz)
		end)
		assert.equal(("a"):rep(1000), first)
		assert.equal(("b"):rep(1000), inner)
		assert.equal(first, again)
	end)

	it("lets the reading function block, and raise", function()
		local w = stm.new "x"
		local r = stm.newcopy(stm.copy(w))
		assert.same({ true, "x" }, { r(function(msg, sz)
			skynet.sleep(1)
			w "y"
			return skynet.tostring(msg, sz)
		end) })
		assert.is_false((pcall(r, error)))
		w "z"
		assert.same({ true, "z" }, { r(skynet.tostring) })
	end)

	it("leaks nothing when copies are lost", function()
		local before
		for round = 1, 3 do
			local w = stm.new(("x"):rep(1e6))
			for _ = 1, 10000 do
				stm.copy(w)
			end
			w = nil -- luacheck: ignore
			collectgarbage()
			collectgarbage()
			if round == 1 then
				before = memory.total()
			end
		end
		assert.truthy(memory.total() - before < 1e6)
	end)

	it("reaches other services", function()
		local w = stm.new(skynet.pack { v = 0 })
		local readers = {}
		for i = 1, 6 do
			readers[i] = skynet.newservice "remote"
			skynet.send(readers[i], "lua", [[
				local stm = require "skynet.stm"
				local r = stm.newcopy(...)
				last = 0
				repeat
					local ok, t = r(skynet.unpack)
					if ok then
						assert(t.v >= last)
						last = t.v
					end
					skynet.sleep(0)
				until last == 2000
			]], stm.copy(w))
		end
		for i = 1, 2000 do
			w(skynet.pack { v = i })
			if i % 100 == 0 then
				skynet.sleep(0)
			end
		end
		for _, s in ipairs(readers) do
			while skynet.call(s, "lua", "return last") ~= 2000 do
				skynet.sleep(1)
			end
			skynet.kill(s)
		end
		assert.equal("userdata", type(w))
	end)
end)
