--- Shared tables: a reader's memory, reading fields against a plain local table, and an update of
--- a table of a million entries that a hundred services read.
local skynet = require "skynet"
local bench = require "bench"
local sharetable = require "skynet.sharetable"
local memory = require "skynet.memory"

if ... == "reader" then
	local keep
	local command = {}
	function command.query(key)
		keep = sharetable.query(key)
		skynet.retpack(true)
	end
	function command.update(key)
		local begin = skynet.hpc()
		sharetable.update(key)
		skynet.retpack((skynet.hpc() - begin) / 1e6, keep.version)
	end
	function command.mem()
		collectgarbage()
		skynet.retpack(collectgarbage "count")
	end
	skynet.start(function()
		skynet.dispatch("lua", function(_, _, cmd, ...)
			command[cmd](...)
		end)
	end)
	return
end

local function source(n, version)
	return ([[
		local t = { version = %d, items = {} }
		for i = 1, %d do t.items[i] = i + t.version end
		return t]]):format(version, n)
end

local function ns_per_read(t, n)
	local sum = 0
	local begin = skynet.hpc()
	for _ = 1, n do
		sum = sum + t.hp + t.mp + t.level + t.gold + t.exp
	end
	return (skynet.hpc() - begin) / (5 * n)
end

local function ns_per_element(t, n)
	local sum = 0
	local begin = skynet.hpc()
	for _ = 1, n do
		for i = 1, #t do
			sum = sum + t[i]
		end
	end
	return (skynet.hpc() - begin) / (#t * n)
end

local function reading()
	local plain = { hp = 1, mp = 2, level = 3, gold = 4, exp = 5, list = {} }
	for i = 1, 100 do
		plain.list[i] = i
	end
	sharetable.loadtable("reading", plain)
	local shared = sharetable.query "reading"
	local n = bench.scale(1000000)
	for name, t in pairs { plain = plain, shared = shared } do
		bench.report("read a field of a " .. name .. " table", ns_per_read(t, n), "ns")
		bench.report("read an element of a " .. name .. " table", ns_per_element(t.list, n // 10), "ns")
	end
end

bench.main(function()
	reading()
	local n = bench.scale(1000000)
	local readers = {}
	for i = 1, 100 do
		readers[i] = skynet.newservice(SERVICE_NAME, "reader")
	end
	local begin = skynet.hpc()
	sharetable.loadstring("big", source(n, 1))
	bench.report("load a table of 1 M entries", (skynet.hpc() - begin) / 1e6, "ms")
	local before = skynet.call(readers[1], "lua", "mem")
	local total = memory.total()
	for _, r in ipairs(readers) do
		skynet.call(r, "lua", "query", "big")
	end
	bench.report("memory of a reader, Lua", (skynet.call(readers[1], "lua", "mem") - before) * 1024, "B")
	bench.report("memory of a reader, process", (memory.total() - total) / 100, "B")
	begin = skynet.hpc()
	sharetable.loadstring("big", source(n, 2))
	bench.report("load its next version", (skynet.hpc() - begin) / 1e6, "ms")
	local both = memory.total()
	begin = skynet.hpc()
	local longest = 0
	for _, r in ipairs(readers) do
		local ms, version = skynet.call(r, "lua", "update", "big")
		assert(version == 2)
		longest = math.max(longest, ms)
	end
	bench.report("update of 100 readers", (skynet.hpc() - begin) / 1e6, "ms")
	bench.report("longest update of a reader", longest, "ms")
	skynet.sleep(1)
	bench.report("memory that returns with the old version", (both - memory.total()) / 1e6, "MB")
end)
