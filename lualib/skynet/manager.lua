--- Functions that manage the node: they join the skynet module.

local skynet = require "skynet"
local c = require "skynet.core"

local stock_dispatch = skynet.dispatch_message

local function number_address(name)
	local t = type(name)
	if t == "number" then
		return name
	elseif t == "string" and name:sub(1, 1) == ":" then
		return tonumber("0x" .. name:sub(2))
	end
end

--- Start a C service. The launcher doesn't know of it.
---@param ... string|number  module and its arguments, joined by blanks
---@return integer|nil address
function skynet.launch(...)
	return c.addresscommand("LAUNCH", table.concat({ ... }, " "))
end

--- Kill a service. It gets no chance to run; callers whose requests it had get an error.
---@param name integer|string  handle, ":hex" or ".name"
function skynet.kill(name)
	local addr = number_address(name)
	if addr then
		skynet.send(".launcher", "lua", "REMOVE", addr, true)
		name = skynet.address(addr)
	end
	c.command("KILL", name)
end

--- End the process: every service is retired.
function skynet.abort()
	c.command "ABORT"
end

-- True when the name was bound here; else it's a global one, checked.
local function bind_local(name, handle)
	local first = name:sub(1, 1)
	assert(first ~= ":")
	if first == "." then
		if handle then
			c.command("NAME", name .. " " .. skynet.address(handle))
		else
			c.command("REG", name)
		end
		return true
	end
	assert(#name < 16, "a global name has at most 15 bytes: assertion failed!")
	assert(tonumber(name) == nil, "a global name can't be a number: assertion failed!")
	return false
end

--- Give this service a name: ".local", or a global one of at most 15 bytes.
---@param name string
function skynet.register(name)
	if not bind_local(name) then
		require "skynet.harbor".globalname(name)
	end
end

--- Give a service a name.
---@param name string
---@param handle integer
function skynet.name(name, handle)
	if not bind_local(name, handle) then
		require "skynet.harbor".globalname(name, handle)
	end
end

-- What skynet.start does, with another callback.
local function begin(callback, forward, start_func)
	c.callback(callback, forward)
	skynet.timeout(0, function()
		skynet.init_service(start_func)
	end)
end

--- Start as a proxy: messages of the mapped types are dispatched as another type, and not freed:
--- the handler owns them. Replaces skynet.start.
---@param map table<integer, integer>
---@param start_func function
function skynet.forward_type(map, start_func)
	local function free_after(msg, sz, ok, err)
		c.trash(msg, sz)
		if not ok then
			error(err)
		end
	end
	begin(function(ptype, msg, sz, ...)
		if map[ptype] then
			return stock_dispatch(map[ptype], msg, sz, ...)
		end
		free_after(msg, sz, pcall(stock_dispatch, ptype, msg, sz, ...))
	end, true, start_func)
end

--- Start with a filter: f(type, msg, sz, session, source) returns the five values to dispatch.
--- Replaces skynet.start.
---@param f function
---@param start_func function
function skynet.filter(f, start_func)
	begin(function(...)
		stock_dispatch(f(...))
	end, false, start_func)
end

--- Make a (globally unique) service the node's monitor: it gets an empty PTYPE_CLIENT message
--- from each service that ends.
---@param service string
---@param query boolean|nil  true: it must have been started already
---@return integer address
function skynet.monitor(service, query)
	local find = query and skynet.queryservice or skynet.uniqueservice
	local addr = find(true, service)
	c.command("MONITOR", skynet.address(addr))
	return addr
end

return skynet
