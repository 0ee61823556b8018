--- Run code as if it stood at some point of a suspended or running function: its locals, upvalues
--- and varargs are in reach, and assignments to them last.

-- Names and positions of the locals at a level of a thread.
local function locals_of(co, level)
	local names, values = {}, {}
	local i = 1
	while true do
		local name, value = debug.getlocal(co, level, i)
		if name == nil then
			return names, values
		end
		if name:byte() ~= 40 then -- "(": a temporary
			names[name], values[name] = i, value
		end
		i = i + 1
	end
end

local function upvalues_of(func)
	local names = {}
	local i = 1
	while true do
		local name = debug.getupvalue(func, i)
		if name == nil then
			return names
		end
		names[name] = i
		i = i + 1
	end
end

local function varargs_of(co, level)
	local list = { n = 0 }
	while true do
		local name, value = debug.getlocal(co, level, -(list.n + 1))
		if name == nil then
			return list
		end
		list.n = list.n + 1
		list[list.n] = value
	end
end

-- Source of a function whose upvalues are the given names and which runs the code.
local function wrap(source, names)
	local list = table.concat(names, ", ")
	local head = #names > 0 and ("local " .. list) or "local _"
	return ("%s\nreturn function(...) -- (debug)\n%s\nend"):format(head, source)
end

-- A level as the caller of run counts it, seen from a helper called by run.
local function frame(co, level)
	if co == coroutine.running() then
		return level + 2
	end
	return level
end

--- Run `source` in the context of a function.
---@param source string
---@param co thread|nil  default: the running coroutine
---@param level integer|nil  default 0
---@param ext_funcs table|nil  more names the code can use
---@return boolean ok, any ...  the code's results, or an error message
return function(source, co, level, ext_funcs)
	co = co or coroutine.running()
	local at = frame(co, level or 0)
	local func = debug.getinfo(co, at - (co == coroutine.running() and 1 or 0), "f").func
	at = at - (co == coroutine.running() and 1 or 0)
	local slots, values = locals_of(co, at)
	local upvalues = upvalues_of(func)
	local names = {}
	for name in pairs(slots) do
		names[#names + 1] = name
	end
	for name in pairs(upvalues) do
		if not slots[name] then
			names[#names + 1] = name
		end
	end
	for name in pairs(ext_funcs or {}) do
		if not slots[name] and not upvalues[name] then
			names[#names + 1] = name
		end
	end
	local make, err = load(wrap(source, names), "=(debug)")
	if not make then
		return false, err
	end
	local body = make()
	local position = upvalues_of(body)
	for name, index in pairs(position) do
		if slots[name] then
			debug.setupvalue(body, index, values[name])
		elseif upvalues[name] then
			debug.upvaluejoin(body, index, func, upvalues[name])
		elseif ext_funcs and ext_funcs[name] ~= nil then
			debug.setupvalue(body, index, ext_funcs[name])
		elseif name == "_ENV" then
			debug.setupvalue(body, index, _ENV)
		end
	end
	local args = varargs_of(co, at)
	local ret = table.pack(pcall(body, table.unpack(args, 1, args.n)))
	for name, index in pairs(position) do
		if slots[name] then
			local _, value = debug.getupvalue(body, index)
			debug.setlocal(co, at, slots[name], value)
		end
	end
	return table.unpack(ret, 1, ret.n)
end
