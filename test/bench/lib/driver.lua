--- The driver of `make bench`: starts a node for each program and run, collects the BENCH lines,
--- and prints medians; with PEER, both runtimes' and their ratio with its spread.

local programs = { "call", "pairs", "send", "wakeup", "start", "timer", "seri", "socket", "cluster", "sharetable", "plain" }
local threads = { sharetable = 2, pairs = 2, send = 2, wakeup = 2, socket = 2, cluster = 2 } -- others: one worker
if #arg > 0 then
	programs = arg
end
local runs = tonumber(os.getenv "RUNS") or 3
local peer = os.getenv "PEER"

local function pwd()
	local p = assert(io.popen "pwd")
	local dir = p:read "l"
	p:close()
	return dir
end
local here = pwd()

local function config(program)
	local name = os.tmpname()
	local f = assert(io.open(name, "w"))
	f:write(([[
thread = %d
harbor = 0
bootstrap = "snlua bootstrap"
start = "%s"
lualoader = "./lualib/loader.lua"
luaservice = "./service/?.lua;%s/test/bench/?.lua"
lua_path = "./lualib/?.lua;./lualib/?/init.lua;%s/test/bench/lib/?.lua"
lua_cpath = "./luaclib/?.so;%s/test/lib/?.so"
cpath = "./cservice/?.so"
bench_dir = "%s/test/bench"
]]):format(threads[program] or 1, program, here, here, here, here))
	f:close()
	return name
end

--- One run of one program; adds what it reports to `into[metric]`.
local function run(dir, program, into, order)
	local name = config(program)
	local p = assert(io.popen(("cd '%s' && timeout 300 ./skynet %s 2>&1"):format(dir, name)))
	local tail = {}
	for line in p:lines() do
		local metric, value, unit = line:match "^BENCH\t([^\t]+)\t([^\t]+)\t(.+)$"
		if metric then
			if not into[metric] then
				into[metric] = { unit = unit }
				order[#order + 1] = metric
			end
			table.insert(into[metric], tonumber(value))
		elseif line:find "BENCH%-ERROR" then
			io.stderr:write(program, ": ", line, "\n")
		end
		tail[#tail + 1] = line
	end
	p:close()
	os.remove(name)
	if next(into) == nil then
		io.stderr:write(table.concat(tail, "\n"), "\n")
	end
end

local function median(list)
	table.sort(list)
	return list[(#list + 1) // 2]
end

--- A number in four characters or so.
local function short(v)
	if not v then
		return "-"
	elseif v >= 1e6 then
		return ("%.2f M"):format(v / 1e6)
	elseif v >= 1e4 then
		return ("%.1f k"):format(v / 1e3)
	end
	return ("%.4g"):format(v)
end

local function print_own(order, ours)
	for _, metric in ipairs(order) do
		local m = ours[metric]
		print(("%-44s %12s %s"):format(metric, short(median(m)), m.unit))
	end
end

local function print_both(order, ours, theirs)
	for _, metric in ipairs(order) do
		local a, b = ours[metric], theirs[metric]
		local ratios = {}
		for i = 1, b and math.min(#a, #b) or 0 do
			ratios[i] = a[i] / b[i]
		end
		local ratio = #ratios > 0 and
			("%6.2fx (%.2f-%.2f)"):format(median(ratios), ratios[1], ratios[#ratios]) or ""
		print(("%-44s %12s %12s %-5s %s"):format(metric, short(median(a)),
			b and short(median(b)) or "-", a.unit, ratio))
	end
end

for _, program in ipairs(programs) do
	local ours, theirs, order = {}, {}, {}
	for _ = 1, runs do
		run(here, program, ours, order)
		if peer then
			run(peer, program, theirs, {})
		end
	end
	if peer then
		print_both(order, ours, theirs)
	else
		print_own(order, ours)
	end
end
