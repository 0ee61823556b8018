--- The driver of `make bench`: starts a node for each program and run, collects the BENCH lines,
--- and prints medians beside the budget; with PEER, both runtimes' and their ratio with its spread.
--- A program that fails is said so, and makes the exit code 1.

-- Which programs there are, and how many workers each wants: a line "-- workers: N" at its head.
local programs, workers = {}, {}

local function find_programs()
	local list = assert(io.popen "ls test/bench/*.lua")
	for path in list:lines() do
		local name = path:match "([^/]+)%.lua$"
		programs[#programs + 1] = name
		local f = assert(io.open(path))
		workers[name] = tonumber(f:read(2000):match "%-%- workers: (%d+)")
		f:close()
	end
	list:close()
end

find_programs()
if #arg > 0 then
	programs = arg
end
local runs = tonumber(os.getenv "RUNS") or 3
local peer = os.getenv "PEER"
local budget = dofile "test/bench/lib/budget.lua"
local failures = 0
-- TABLE=file: the same for programs; tab-separated, one line a metric
local out = os.getenv "TABLE" and assert(io.open(os.getenv "TABLE", "w"))

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
lua_path = "./lualib/?.lua;./lualib/?/init.lua;%s/test/bench/lib/?.lua;%s/test/lib/?.lua"
lua_cpath = "./luaclib/?.so;%s/test/lib/?.so"
cpath = "./cservice/?.so"
bench_dir = "%s/test/bench"
]]):format(workers[program] or 1, program, here, here, here, here, here))
	f:close()
	return name
end

--- One run of one program; adds what it reports to `into[metric]`.
local function run(dir, program, into, order)
	local name = config(program)
	local p = assert(io.popen(("cd '%s' && timeout 300 ./skynet %s 2>&1"):format(dir, name)))
	local tail, lines = {}, 0
	local failed
	for line in p:lines() do
		local metric, value, unit = line:match "^BENCH\t([^\t]+)\t([^\t]+)\t(.+)$"
		if metric then
			if not into[metric] then
				into[metric] = { unit = unit }
				order[#order + 1] = metric
			end
			table.insert(into[metric], tonumber(value))
			lines = lines + 1
		elseif line:find "BENCH%-ERROR" then
			failed = true
		end
		tail[#tail + 1] = line
	end
	local ok, how, code = p:close()
	os.remove(name)
	if failed or not ok or lines == 0 then
		failures = failures + 1
		io.stderr:write(("%s in %s failed (%s %s)\n%s\n"):format(program, dir, how, code,
			table.concat(tail, "\n", math.max(1, #tail - 30))))
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

local function record(...)
	if out then
		out:write(table.concat({ ... }, "\t"), "\n")
	end
end

-- The budget of a metric, and whether it's met: "at least" for rates, "at most" for costs.
local function judge(metric, unit, value)
	local limit = budget[metric]
	if not limit then
		return ""
	end
	local rate = unit:find "/s" ~= nil
	local met = rate and value >= limit or not rate and value <= limit
	return ("%s %-8s %s"):format(rate and ">=" or "<=", short(limit), met and "met" or "OVER")
end

local function print_own(order, ours)
	for _, metric in ipairs(order) do
		local m = ours[metric]
		local value = median(m)
		print(("%-44s %12s %-5s %s"):format(metric, short(value), m.unit, judge(metric, m.unit, value)))
		record(metric, m.unit, value, m[1], m[#m], budget[metric] or "")
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
		record(metric, a.unit, median(a), b and median(b) or "", ratio)
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
	io.stdout:flush()
end
if out then
	assert(out:close())
end
os.exit(failures == 0)
