-- No function of a C module crashes the process, whatever a service passes to it.
--
-- Modules are found by the names that libraries export, so new ones are covered as they come.
-- Pointers that the runtime would have to trust are out of reach, except those that can't be
-- blocks: NULL and small numbers.

local node = require "node"

-- library -> its open functions
local function open_functions()
	local list = {}
	local p = io.popen "ls luaclib/*.so"
	for library in p:lines() do
		if library:find "lpeg" then
			goto continue -- LPeg as its author wrote it: it trusts its own metamethods' arguments
		end
		local names = {}
		for name in io.open(library, "rb"):read "a":gmatch "%f[%w_]luaopen_[%w_]+%f[^%w_]" do
			names[name] = true
		end
		for name in pairs(names) do
			list[#list + 1] = { library, name }
		end
		::continue::
	end
	p:close()
	table.sort(list, function(a, b)
		return a[1] .. a[2] < b[1] .. b[2]
	end)
	return list
end

local function run(library, open, only)
	local n = node.start {
		start = ("argfuzz %s %s %s"):format(library, open, only or ""),
		thread = 2,
		log_level = "error",
		logger = "/dev/null",
	}
	local ok, code = pcall(n.exit_code, n, 120)
	n:kill()
	return n.text:find "survived" and code == 0, ok and code or "it hangs", n.text
end

describe("C functions", function()
	for _, what in ipairs(open_functions()) do
		local library, open = what[1], what[2]
		it(("of %s survive wrong arguments"):format(open), function()
			local ok, code, text = run(library, open)
			if ok then
				return
			end
			local last
			for name in text:gmatch "calling\t([^\n]*)" do
				last = name
			end
			-- again, to see the arguments
			local _, _, again = run(library, open, last)
			local arguments
			for list in again:gmatch "arguments\t([^\n]*)" do
				arguments = list
			end
			error(("%s(%s) ended the process: %s\n%s"):format(last, arguments, code, text:sub(-2000)))
		end)
	end
end)
