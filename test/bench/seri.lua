--- Serialisation of a small table, and plain Lua code, in one service.
local skynet = require "skynet"
local bench = require "bench"

local function serialise()
	local t = { id = 12345, name = "player", pos = { 1.5, 2.5, 3.5 }, items = { 1, 2, 3, 4 },
		alive = true, guild = "some guild name" }
	local n = bench.scale(300000)
	local size = #skynet.packstring(t)
	local begin = skynet.hpc()
	for _ = 1, n do
		skynet.trash(skynet.pack(t))
	end
	bench.report("pack", size * n / ((skynet.hpc() - begin) / 1e9) / 1e6, "MB/s")
	local s = skynet.packstring(t)
	begin = skynet.hpc()
	for _ = 1, n do
		skynet.unpack(s)
	end
	bench.report("unpack", size * n / ((skynet.hpc() - begin) / 1e9) / 1e6, "MB/s")
end

local function fib(n)
	return n < 2 and n or fib(n - 1) + fib(n - 2)
end

local function plain()
	local begin = skynet.hpc()
	fib(30)
	local t = {}
	for i = 1, 1000000 do
		t[i] = { i, name = "x" .. i % 100 }
	end
	for i = 1, #t do
		t[i].sum = t[i][1] + #t[i].name
	end
	t = {}
	collectgarbage()
	assert(#t == 0)
	local parts = {}
	for i = 1, 200000 do
		parts[#parts + 1] = string.format("%d:%s", i, ("a"):rep(i % 10))
	end
	local s = table.concat(parts, ",")
	for _ in s:gmatch "%d+:" do end
	bench.report("plain Lua code", (skynet.hpc() - begin) / 1e6, "ms")
end

bench.main(function()
	serialise()
	plain()
end)
