--- Replaces methods of a running snax service, keeping its state.
--
-- A patch is a chunk like a snax file, run in a private copy of the globals. Locals that it
-- declares without a value stand for the service's own: each upvalue of a new function that is
-- nil is joined to the upvalue of the same name in the old functions, or in functions those use.
-- So requests that are under way, old functions and new ones share one state.
--
-- All of a patch is checked before anything is replaced. Its own `hotfix` function runs last;
-- what was replaced stays replaced if that raises.

local interface = require "snax.interface"

local patches = 0

-- name -> { func, index, id, ambiguous } for the upvalues of f, and of the functions among them
local function collect(f, found, seen)
	if seen[f] then
		return
	end
	seen[f] = true
	local i = 1
	while true do
		local name, value = debug.getupvalue(f, i)
		if name == nil or name == "" then -- the end, or a C function
			return
		end
		local id = debug.upvalueid(f, i)
		local known = found[name]
		if known == nil then
			found[name] = { f, i, id = id }
		elseif known.id ~= id then
			known.ambiguous = true
		end
		if type(value) == "function" then
			collect(value, found, seen)
		end
		i = i + 1
	end
end

-- Calls join(f, index, old) for each upvalue of f that stands for an old one. Only functions
-- that the patch made are looked into: others have nil upvalues of their own.
local function match(f, source, env, old, seen, join)
	if seen[f] or debug.getinfo(f, "S").source ~= source then
		return
	end
	seen[f] = true
	local i = 1
	while true do
		local name, value = debug.getupvalue(f, i)
		if name == nil then
			return
		end
		local mate = old[name]
		if mate and (value == nil or rawequal(value, env)) then
			join(f, i, mate, name)
		elseif type(value) == "function" then
			match(value, source, env, old, seen, join)
		end
		i = i + 1
	end
end

local function check_ambiguity(_, _, mate, name)
	if mate.ambiguous and name ~= "_ENV" then
		error("ambiguity local value " .. name, 0)
	end
end

local function join(f, i, mate)
	debug.upvaluejoin(f, i, mate[1], mate[2])
end

local function find(funcs, group, name)
	for _, entry in ipairs(funcs) do
		if entry[2] == group and entry[3] == name then
			return entry
		end
	end
	error(("Patch mismatch %s.%s"):format(group, name), 0)
end

local function copy_globals()
	local env = {}
	for k, v in pairs(_G) do
		env[k] = v
	end
	return env
end

-- -> what the patch defines, { entry to replace, function } each
local function read_patch(funcs, source, chunkname, env)
	local defined = interface(chunkname, env, function(_, _, environment)
		local main, err = load(source, chunkname, "bt", environment)
		if not main then
			error(("the patch doesn't load: %s: attempt to call a nil value"):format(err), 0)
		end
		return main
	end)
	local news = {}
	for _, entry in ipairs(defined) do
		local func = entry[4]
		if func then
			news[#news + 1] = { find(funcs, entry[2], entry[3]), func }
		end
	end
	return news
end

local function apply(funcs, source, ...)
	patches = patches + 1
	local chunkname = "=hotfix " .. patches
	local env = copy_globals()
	local news = read_patch(funcs, source, chunkname, env)
	local old, seen = {}, {}
	for _, entry in ipairs(funcs) do
		if entry[4] then
			collect(entry[4], old, seen)
		end
	end
	for _, visit in ipairs { check_ambiguity, join } do
		seen = {}
		for _, new in ipairs(news) do
			match(new[2], chunkname, env, old, seen, visit)
		end
	end
	local last
	for _, new in ipairs(news) do
		local entry, func = new[1], new[2]
		if entry[2] == "system" and entry[3] == "hotfix" then
			last = func
		else
			entry[4] = func
		end
	end
	if last then
		return last(...)
	end
end

--- Apply a patch.
---@param funcs table[]  the service's functions, as `snax.interface` returned them; changed
---@param source string  the patch
---@param ... any  arguments of the patch's own `hotfix` function
---@return boolean ok
---@return any ...  what that function returned; the error text when not ok
return function(funcs, source, ...)
	return pcall(apply, funcs, source, ...)
end
