--- Services made from a function instead of a script file.

local skynet = require "skynet"

local service = {}

local cache = {} -- name -> address
local provider

local function get_provider()
	provider = provider or skynet.uniqueservice "service_provider"
	return provider
end

-- Only _ENV may come along: the function runs in another VM.
local function check(func)
	local info = debug.getinfo(func, "u")
	assert(info.nups == 1)
	assert(debug.getupvalue(func, 1) == "_ENV")
end

--- The service of this name; made from mainfunc(...) if there is none yet.
--- Raises `call failed` when it can't start; the name stays failed until it's closed.
---@param name string
---@param mainfunc function  its only upvalue is _ENV
---@param ... any  arguments, anything that can be packed
---@return integer address
function service.new(name, mainfunc, ...)
	local address = cache[name]
	if address then
		return address
	end
	local function ask(...)
		return skynet.call(get_provider(), "lua", ...)
	end
	local known, booting = ask("test", name)
	if booting then
		known = ask("query", name)
	elseif not known then
		check(mainfunc)
		known = ask("launch", name, string.dump(mainfunc), ...)
	end
	cache[name] = known
	return known
end

--- Kill the service of this name.
---@param name string
---@return boolean existed
function service.close(name)
	local address = skynet.call(get_provider(), "lua", "close", name)
	if address then
		cache[name] = nil
		skynet.kill(address)
		return true
	end
	return false
end

--- The service of this name; waits until it's made.
---@param name string
---@return integer address
function service.query(name)
	local address = cache[name]
	if not address then
		address = skynet.call(get_provider(), "lua", "query", name)
		cache[name] = address
	end
	return address
end

require "skynet.manager" -- for kill

return service
