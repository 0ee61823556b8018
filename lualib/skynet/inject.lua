--- Run code inside a service, with its internals in reach: what the debug command RUN does.
--
-- The code's globals are the service's, plus `print` (collects output), `_U` (tables found among
-- the upvalues of the given functions, by name) and `_P` (the same for each protocol's handler).

-- All upvalues of a function that are tables, and those of the functions among them.
local function collect_tables(f, result, seen)
	result = result or {}
	seen = seen or {}
	if seen[f] then
		return result
	end
	seen[f] = true
	local i = 1
	while true do
		local name, value = debug.getupvalue(f, i)
		if name == nil then
			return result
		end
		if type(value) == "function" then
			collect_tables(value, result, seen)
		elseif type(value) == "table" and name ~= "" then
			result[name] = result[name] or value
		end
		i = i + 1
	end
end

local function add_globals(tables)
	tables._ENV = nil
	return tables
end

---@param skynet skynet
---@param source string
---@param filename string|nil
---@param args table  table.pack of the code's arguments
---@param ... function  functions whose upvalues are offered as _U
---@return boolean ok, string[] output
return function(skynet, source, filename, args, ...)
	local output = {}

	local function print(...)
		local values = table.pack(...)
		for i = 1, values.n do
			values[i] = tostring(values[i])
		end
		output[#output + 1] = table.concat(values, "\t")
	end

	local u = {}
	local functions = { ... }
	local seen = {}
	for _, f in ipairs(functions) do
		collect_tables(f, u, seen)
	end
	local p = {}
	for name, class in pairs(skynet._proto) do
		local dispatch = class.dispatch
		if type(name) == "string" and dispatch then
			p[name] = add_globals(collect_tables(dispatch))
		end
	end
	local env = setmetatable({ print = print, _U = add_globals(u), _P = p }, { __index = _ENV })
	local chunkname = filename and "@" .. filename or "=(load)"
	local func, err = load(source, chunkname, "bt", env)
	if not func then
		return false, { err }
	end
	local ok
	ok, err = xpcall(func, debug.traceback, table.unpack(args, 1, args.n))
	if not ok then
		output[#output + 1] = tostring(err)
		return false, output
	end
	return true, output
end
