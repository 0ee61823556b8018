-- Every public function of the Lua library is documented: a comment before it, and the types of
-- its parameters.
--
-- A simple scanner: `function M.name(...)`, `function M:name(...)`, `M.name = ...function`, where
-- M is the table that the module returns. Names with a leading underscore are private. A function
-- needs a `---` comment right before it; one with parameters needs `---@param` for each of them,
-- or one `---@type fun(...)` or `---@overload` for all.

local function module_files()
	local list = {}
	local p = io.popen "find lualib -name '*.lua' -not -path '*/compat10/*' | sort"
	for path in p:lines() do
		list[#list + 1] = path
	end
	p:close()
	return list
end

local function read_lines(path)
	local lines = {}
	for line in io.lines(path) do
		lines[#lines + 1] = line
	end
	return lines
end

-- The name of the table a module returns, and whether it returns a function's name or else.
local function returned_table(lines)
	for i = #lines, 1, -1 do
		local name = lines[i]:match "^return ([%a_][%w_]*)%s*$"
		if name then
			return name
		elseif lines[i]:find "^return" then
			return nil
		end
	end
end

-- Parameters of a function whose list may go on over several lines.
local function parameters(lines, i)
	local text = lines[i]
	local list = text:match "function[^(]*%((.-)%)"
	while not list and i < #lines do
		i = i + 1
		text = text .. lines[i]
		list = text:match "function[^(]*%((.-)%)"
	end
	local names = {}
	for name in (list or ""):gmatch "[%w_.]+" do
		if name ~= "_" then
			names[#names + 1] = name
		end
	end
	return names
end

-- The doc comment that ends right before line i.
local function doc_before(lines, i)
	local doc = {}
	while i > 1 and lines[i - 1]:find "^%s*%-%-%-" and not lines[i - 1]:find "^%s*%-%-%-%-" do
		i = i - 1
		table.insert(doc, 1, lines[i])
	end
	return table.concat(doc, "\n")
end

local function missing(doc, params)
	if doc == "" then
		return "no doc comment"
	elseif doc:find "%-%-%-@type" or doc:find "%-%-%-@overload" then
		return nil
	end
	for _, name in ipairs(params) do
		local found = false
		for documented in doc:gmatch "%-%-%-@param%s+([%w_.]+)" do
			found = found or documented == name
		end
		if not found then
			return "no ---@param " .. name
		end
	end
end

local function offenders(path)
	local lines = read_lines(path)
	local table_name = returned_table(lines)
	local list = {}
	if not table_name then
		return list
	end
	for i, line in ipairs(lines) do
		local name = line:match("^function " .. table_name .. "[.:]([%a][%w_]*)%s*%(")
			or line:match("^" .. table_name .. "%.([%a][%w_]*) = function")
		if name then
			local what = missing(doc_before(lines, i), parameters(lines, i))
			if what then
				list[#list + 1] = ("%s:%d: %s: %s"):format(path, i, name, what)
			end
		end
	end
	return list
end

describe("public functions of lualib", function()
	it("carry LuaLS annotations", function()
		local all = {}
		for _, path in ipairs(module_files()) do
			table.move(offenders(path), 1, 1000, #all + 1, all)
		end
		assert(#all == 0, "not documented:\n" .. table.concat(all, "\n"))
	end)
end)
