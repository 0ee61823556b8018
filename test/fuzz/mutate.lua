--- Drives a fuzz target written in Lua: its corpus first, then mutations of it for some seconds.
---
---   lua test/fuzz/mutate.lua NAME SECONDS SEED
---
--- A target is test/fuzz/NAME_fuzz.lua; it defines fuzz(bytes), which raises when something is
--- wrong. The input that made it raise is written to build/fuzz/found/.

local name, seconds, seed = arg[1], tonumber(arg[2]), tonumber(arg[3])
math.randomseed(seed)
package.path = "./lualib/?.lua;./lualib/?/init.lua;./test/fuzz/?.lua;" .. package.path
package.cpath = "./luaclib/?.so;" .. package.cpath

local target = setmetatable({}, { __index = _G })
assert(loadfile("test/fuzz/" .. name .. "_fuzz.lua", "t", target))()
local fuzz = assert(target.fuzz or rawget(_G, "fuzz"), "the target defines no fuzz(bytes)")

local function corpus()
	local list = {}
	local p = assert(io.popen("ls test/fuzz/corpus/" .. name .. "/* 2>/dev/null"))
	for path in p:lines() do
		local f = assert(io.open(path, "rb"))
		list[#list + 1] = f:read "a"
		f:close()
	end
	p:close()
	return list
end

local function try(bytes)
	local ok, err = xpcall(fuzz, debug.traceback, bytes)
	if not ok then
		local path = ("build/fuzz/found/%s-%d"):format(name, seed)
		local f = assert(io.open(path, "wb"))
		f:write(bytes)
		f:close()
		error(("%s\nthe input is in %s"):format(err, path), 0)
	end
end

local interesting = { "\0", "\255", "\127", "\128", "\r\n", "\n", "-1", "0", "99999999999",
	"\255\255\255\127", "\255\255\255\255\255\255\255\127" }

local steps = {
	function(s, i) -- another byte
		return s:sub(1, i - 1) .. string.char(math.random(0, 255)) .. s:sub(i + 1)
	end,
	function(s, i) -- one bit
		local b = s:byte(i) or 0
		return s:sub(1, i - 1) .. string.char(b ~ (1 << math.random(0, 7))) .. s:sub(i + 1)
	end,
	function(s, i) -- something notable
		return s:sub(1, i - 1) .. interesting[math.random(#interesting)] .. s:sub(i)
	end,
	function(s, i) -- less
		return s:sub(1, i - 1) .. s:sub(i + math.random(1, 8))
	end,
	function(s, i) -- a part twice
		local n = math.random(1, 32)
		return s:sub(1, i) .. s:sub(math.max(1, i - n), i) .. s:sub(i + 1)
	end,
	function(s, i) -- cut off
		return s:sub(1, i)
	end,
	function(s, i, other) -- another's end
		return s:sub(1, i) .. other:sub(math.random(1, #other + 1))
	end,
}

local inputs = corpus()
for _, bytes in ipairs(inputs) do
	try(bytes)
end
try ""

local n = 0
local till = os.time() + seconds
while seconds > 0 and os.time() < till do
	for _ = 1, 50 do
		local s = #inputs > 0 and inputs[math.random(#inputs)] or ""
		local other = #inputs > 0 and inputs[math.random(#inputs)] or ""
		for _ = 1, math.random(1, 6) do
			s = steps[math.random(#steps)](s, math.random(1, #s + 1), other)
		end
		try(s)
		n = n + 1
	end
end
print(("%d inputs of the corpus, %d mutations"):format(#inputs, n))
