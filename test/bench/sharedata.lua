--- Data shared between services: what reading a field costs, what a reader costs, and how long a
--- new version takes to reach everybody.
local skynet = require "skynet"
local sharedata = require "skynet.sharedata"
local bench = require "bench"

local ROWS = 1000

local function table_of(version)
	local t = { version = version }
	for i = 1, ROWS do
		t[i] = { id = i, name = "item" .. i, price = i * 1.5, level = i % 60 }
	end
	return t
end

local function walk(t)
	local n = 0
	for i = 1, ROWS do
		local row = t[i]
		n = n + row.id + row.level + row.price + #row.name
	end
	return n
end

if (...) == "reader" then
	local box
	local command = {}

	function command.open(kind)
		collectgarbage()
		local before = collectgarbage "count"
		box = kind == "copy" and sharedata.deepcopy "big"
			or kind == "datasheet" and require "skynet.datasheet".query "big"
			or sharedata.query "big"
		walk(box)
		collectgarbage()
		return (collectgarbage "count" - before) * 1024
	end

	function command.wait(version)
		while box.version ~= version do
			skynet.yield()
		end
	end

	skynet.start(function()
		skynet.dispatch("lua", function(_, _, cmd, ...)
			skynet.retpack(command[cmd](...))
		end)
	end)
	return
end

--- Nanoseconds of a field read: the best of several rounds, without the empty loop's.
local function field(name, n, f, empty)
	local best = math.huge
	for _ = 1, 10 do
		local begin = skynet.hpc()
		f(n)
		best = math.min(best, (skynet.hpc() - begin) / n)
	end
	if empty then
		bench.report("read " .. name, best - empty, "ns")
	end
	return best
end

local function reads()
	local n = bench.scale(300000)
	local row = { id = 7, name = "sword", price = 1.5, level = 3, sub = { x = 1 } }
	sharedata.new("row", row)
	local builder = require "skynet.datasheet.builder"
	builder.new("row", row)
	local datasheet = require "skynet.datasheet"
	local empty = field("nothing", n, function(m) for _ = 1, m do end end)
	local kinds = { { "plain", row }, { "sharedata", sharedata.query "row" },
		{ "datasheet", datasheet.query "row" } }
	for _, kind in ipairs(kinds) do
		local name, t = kind[1], kind[2]
		local x -- luacheck: ignore
		field(name .. " integer", n, function(m) for _ = 1, m do x = t.id end end, empty)
		field(name .. " string", n, function(m) for _ = 1, m do x = t.name end end, empty)
		field(name .. " nested", n, function(m) for _ = 1, m do x = t.sub.x end end, empty)
	end
	-- a walk over everything, with no row read often
	sharedata.new("walk", table_of(0))
	local box = sharedata.query "walk"
	walk(box)
	local best = math.huge
	for _ = 1, 5 do
		local begin = skynet.hpc()
		walk(box)
		best = math.min(best, skynet.hpc() - begin)
	end
	bench.report("walk over sharedata, a field", best / (4 * ROWS), "ns")
	builder.new("big", table_of(0))
end

local function open_readers(kind, n)
	local readers, bytes = {}, 0
	for i = 1, n do
		readers[i] = skynet.newservice(SERVICE_NAME, "reader")
		bytes = bytes + skynet.call(readers[i], "lua", "open", kind)
	end
	bench.report("memory of a reader, " .. kind, bytes / n / 1024, "KB")
	return readers
end

local function updates(readers)
	local versions = bench.scale(20)
	local seen = 0
	local begin = skynet.hpc()
	for v = 1, versions do
		local big = table_of(v)
		local started = skynet.hpc()
		sharedata.update("big", big)
		bench.parallel(#readers, function(i)
			skynet.call(readers[i], "lua", "wait", v)
		end)
		seen = seen + skynet.hpc() - started
	end
	bench.report("update seen by 100 readers", seen / versions / 1e6, "ms")
	bench.report("the same with making the table", (skynet.hpc() - begin) / versions / 1e6, "ms")
end

bench.main(function()
	reads()
	sharedata.new("big", table_of(0))
	open_readers("copy", 10)
	open_readers("datasheet", 10)
	updates(open_readers("sharedata", 100))
end)
