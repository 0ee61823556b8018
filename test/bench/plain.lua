--- Plain Lua code, without the runtime: calls, tables, strings, methods, the collector. Runs in a
--- service (as a bench program) and by any interpreter (`lua plain.lua [scale] [name]`), so that a
--- patched Lua can be compared with a stock one: by time, or by instructions under callgrind.

local work = {}

function work.fib(n)
	local function fib(k)
		return k < 2 and k or fib(k - 1) + fib(k - 2)
	end
	return fib(20 + n)
end

function work.tables(n)
	local sum = 0
	for _ = 1, n * 20 do
		local t = {}
		for i = 1, 200 do
			t[i] = i
		end
		for i, v in ipairs(t) do
			t[i] = v + 1
		end
		local r = { x = 1, y = 2, name = "n" }
		for i = 1, 200 do
			r.x = r.x + t[i]
			r.y = r.x - r.y
		end
		for _, v in pairs(t) do
			sum = sum + v
		end
		sum = sum + r.x
	end
	return sum
end

function work.methods(n)
	local base = { kind = "base" }
	base.__index = base
	function base:get()
		return self.value
	end
	function base:add(d)
		self.value = self:get() + d
		return self.kind
	end
	local class = setmetatable({ kind = "class" }, base)
	class.__index = class
	local o = setmetatable({ value = 0 }, class)
	for i = 1, n * 5000 do
		o:add(i)
	end
	return o.value
end

function work.strings(n)
	local parts = {}
	for i = 1, n * 300 do
		local s = "item" .. i
		parts[#parts + 1] = s:upper():sub(2, -2)
		parts[#parts] = parts[#parts]:gsub("T", "t")
		parts[s] = ("%d:%s"):format(i, s)
	end
	return #table.concat(parts, ",")
end

function work.keys(n)
	local count, t = 0, {}
	for w in (("the quick brown fox jumps over a lazy dog "):rep(n * 20)):gmatch "%a+" do
		t[w] = (t[w] or 0) + 1
		if w == "fox" then
			count = count + 1
		end
	end
	return count + t.dog
end

function work.gc(n)
	local keep = {}
	for i = 1, n * 2000 do
		keep[i % 500] = { i, tostring(i), { next = keep[(i * 7) % 500] } }
		if i % 50 == 0 then
			keep[(i * 7) % 500] = nil
		end
	end
	collectgarbage()
	return #keep
end

function work.closures(n)
	local sum = 0
	for i = 1, n * 3000 do
		local f = function(x)
			return x + i
		end
		sum = sum + f(1)
	end
	local co = coroutine.wrap(function()
		while true do
			coroutine.yield(sum)
		end
	end)
	for _ = 1, n * 500 do
		co()
	end
	return sum
end

local names = { "fib", "tables", "methods", "strings", "keys", "gc", "closures" }

if rawget(_G, "SERVICE_NAME") then
	local bench = require "bench"
	bench.main(function()
		for _, name in ipairs(names) do
			bench.rate("plain Lua: " .. name, 1, function()
				work[name](bench.scale(name == "fib" and 10 or 40))
			end)
		end
	end)
else
	local n, only = tonumber(arg[1]) or 10, arg[2]
	for _, name in ipairs(names) do
		if not only or only == name then
			local begin = os.clock()
			work[name](n)
			print(("%-10s %.4f s"):format(name, os.clock() - begin))
		end
	end
end
