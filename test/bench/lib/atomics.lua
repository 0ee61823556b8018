--- Atomic read-modify-write instructions (those that lock a cache line) of a callgrind profile that was
--- made with --dump-instr=yes: `lua atomics.lua FILE` prints their number, and `lua atomics.lua FILE
--- FILE N` how many each place executes more often in the second, divided by N.

local function locked(object)
	local set = {}
	local p = assert(io.popen(("objdump -d --no-show-raw-insn '%s' 2>/dev/null"):format(object)))
	for line in p:lines() do
		local address, code = line:match "^%s*(%x+):%s*(.*)"
		if address and (code:find "^lock " or code:find "^xchg%s.*%(") then
			set[tonumber(address, 16)] = true
		end
	end
	p:close()
	return set
end

local function count(name, sets)
	local place, total = {}, 0
	local set, file, fn, inclusive
	for line in io.lines(name) do
		local key, value = line:match "^(%a+)=(.*)"
		if key == "ob" then
			sets[value] = sets[value] or locked(value)
			set = sets[value]
		elseif key == "fl" or key == "fi" or key == "fe" then
			file = value:match "[^/]*$"
		elseif key == "fn" then
			fn = value:match "^[^.']*"
		elseif key == "calls" then
			inclusive = true -- the next line is the callee's cost
		else
			local address, number, cost = line:match "^0x(%x+) (%d+) (%d+)$"
			if address and not inclusive and set[tonumber(address, 16)] then
				local at = ("%s (%s:%s)"):format(fn, file, number)
				place[at] = (place[at] or 0) + tonumber(cost)
				total = total + tonumber(cost)
			end
			inclusive = inclusive and not address
		end
	end
	return total, place
end

local first, second, n = ...
local sets = {}
local total, before = count(first, sets)
if not second then
	return print(total)
end
local rows = {}
for at, times in pairs(select(2, count(second, sets))) do
	local each = (times - (before[at] or 0)) / n
	if each >= 0.01 then
		rows[#rows + 1] = { at, each }
	end
end
table.sort(rows, function(a, b)
	return a[2] > b[2]
end)
for _, row in ipairs(rows) do
	print(("%10.2f  %s"):format(row[2], row[1]))
end
