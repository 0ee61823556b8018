--- Reads the interface of a snax service: the methods and system functions its file defines.
--
-- The file runs with `env` as its environment. While it runs, the globals `accept` and
-- `response` are tables that record what is defined in them, and the system functions are
-- caught; whatever else `env` had under these names is put back afterwards. Other globals that
-- the file assigns stay in `env`.
--
-- Ids: the system functions have 1 to 4, methods follow in the order of their definition.

local skynet = require "skynet"

local system = { "init", "exit", "hotfix", "profile" }
local is_system = {}
for i, name in ipairs(system) do
	is_system[name] = i
end

-- A table in which a file defines methods.
local function recorder(group, list)
	local known = {}
	return setmetatable({}, {
		__index = known,
		__newindex = function(_, name, func)
			if type(name) ~= "string" then
				error(("%s method only support string"):format(group), 2)
			elseif type(func) ~= "function" then
				error(("%s.%s must be function"):format(group, name), 2)
			elseif known[name] then
				error(("%s.%s duplicate definition"):format(group, name), 2)
			end
			known[name] = func
			list[#list + 1] = { #list + 1, group, name, func }
		end,
	})
end

-- Global assignments of the file: system functions go to the list, the rest where it went before.
local function catch_system(env, list, before)
	local newindex = before and before.__newindex
	return {
		__index = before and before.__index,
		__newindex = function(_, name, value)
			local id = is_system[name]
			if id then
				if type(value) ~= "function" then
					error(("%s must be a function"):format(name), 2)
				end
				list[id][4] = value
			elseif type(newindex) == "function" then
				newindex(env, name, value)
			elseif newindex then
				newindex[name] = value
			else
				rawset(env, name, value)
			end
		end,
	}
end

-- Call f(...) with the recording names in place, and put back what they hid.
local function with_recorders(env, list, f, ...)
	local hidden = {}
	local names = { "accept", "response", table.unpack(system) }
	for _, name in ipairs(names) do
		hidden[name] = rawget(env, name)
		rawset(env, name, nil)
	end
	rawset(env, "accept", recorder("accept", list))
	rawset(env, "response", recorder("response", list))
	local before = getmetatable(env)
	setmetatable(env, catch_system(env, list, before))
	local ok, err = xpcall(f, function(text)
		return type(text) == "string" and debug.traceback(text, 2) or text
	end, ...)
	setmetatable(env, before)
	for _, name in ipairs(names) do
		rawset(env, name, hidden[name])
	end
	if not ok then
		error(err, 0)
	end
end

local function load_by_template(path, name, env)
	local failed = {}
	for template in path:gmatch "[^;]+" do
		local file = template:gsub("%?", (name:gsub("%%", "%%%%")))
		local f, err = loadfile(file, "bt", env)
		if f then
			return f, template
		end
		failed[#failed + 1] = err
	end
	error(table.concat(failed, "\n"), 0)
end

--- The interface of a snax service.
--- Raises `please set snax in config file`, what loading or running the file raises, and the
--- errors of bad definitions (`accept.x duplicate definition`, `init must be a function`, ...).
---@param name string  of the service
---@param env table  environment the file runs in
---@param loader nil|fun(path: string, name: string, env: table): function, string
---  returns the file's main function and the template it was found by; default: the templates
---  of the config key `snax`
---@param found nil|fun(pattern: string)  called after loading, before the file runs
---@return table[] funcs  { id, group, name, function|nil }; groups: system, accept, response
---@return string pattern  what the loader returned
return function(name, env, loader, found)
	local path = assert(skynet.getenv "snax", "please set snax in config file")
	local main, pattern = (loader or load_by_template)(path, name, env)
	if found then
		found(pattern)
	end
	local list = {}
	for id, text in ipairs(system) do
		list[id] = { id, "system", text }
	end
	with_recorders(env, list, main)
	return list, pattern
end
