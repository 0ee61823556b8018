--- Starting and ending services: rate, CPU time and Lua memory of a trivial service, and of one
--- that requires a module of three thousand lines.
local skynet = require "skynet"
local bench = require "bench"
local mode, path = ...

if mode == "trivial" or mode == "module" then
	if mode == "module" then
		package.path = path .. "?.lua;" .. package.path
		require "bench_big"
	end
	skynet.start(function()
		skynet.dispatch("lua", function(_, _, cmd)
			if cmd == "mem" then
				collectgarbage()
				skynet.ret(skynet.pack(collectgarbage "count"))
			else
				skynet.exit()
			end
		end)
	end)
	return
end

-- As many functions as make the original's services as much larger as its figure says, 22 KB.
local function big_module()
	local dir = os.tmpname()
	os.remove(dir)
	dir = dir .. "_"
	local f = assert(io.open(dir .. "bench_big.lua", "w"))
	f:write "local M = {}\n"
	for i = 1, 214 do
		f:write(([[
function M.f%d(a, b)
	local t = { x = a, y = b, name = "n%d" }
	if t.x then
		t.x = t.x + %d
	end
	for n = 1, #t do
		t.y = t.y + t[n]
	end
	t.y = t.name .. tostring(t.x)
	if a == b then
		return nil
	end
	return t
end
]]):format(i, i, i))
	end
	f:write "return M\n"
	f:close()
	return dir
end

local function measure(name, n, ...)
	local all = {}
	local args = table.pack(...)
	bench.rate("start a service" .. name, n, function()
		for i = 1, n do
			all[i] = skynet.newservice(SERVICE_NAME, table.unpack(args))
		end
	end)
	local kb = 0
	for i = 1, 20 do
		kb = kb + skynet.call(all[i], "lua", "mem")
	end
	bench.report("memory of a service" .. name, kb / 20, "KB")
	bench.rate("end a service" .. name, n, function()
		for i = 1, n do
			skynet.send(all[i], "lua", "exit")
		end
		while skynet.call(".launcher", "lua", "LIST")[skynet.address(all[n])] do
			skynet.sleep(0)
		end
	end)
end

bench.main(function()
	local dir = big_module()
	skynet.newservice(SERVICE_NAME, "trivial")
	measure("", bench.scale(2000), "trivial")
	measure(", 3000-line module", bench.scale(1000), "module", dir)
	os.remove(dir .. "bench_big.lua")
end)
