--- snax: services that are called by method name.
--
-- A service's file defines its methods (`accept.NAME`: no reply, `response.NAME`: its return
-- values are the reply). Everybody who uses the service reads the same file for the list of
-- methods; on the wire a request is the method's number and its arguments.

local skynet = require "skynet"
local snax_interface = require "snax.interface"

---@class snax.object
---@field handle integer
---@field type string  name of the service
---@field post table<string, function>  post.NAME(...): send; never blocks
---@field req table<string, function>  req.NAME(...): call; returns the method's results

local snax = {}

local interfaces = {} -- name -> { name =, accept =, response =, system = }
local objects = setmetatable({}, { __mode = "v" }) -- handle -> object

skynet.register_protocol { name = "snax", id = skynet.PTYPE_SNAX, pack = skynet.pack,
	unpack = skynet.unpack }

-- Where files run that are only read for their methods: they can't do anything.
local reading_env
local loader

local function setup_reading()
	local module = skynet.getenv "snax_interface_g"
	reading_env = module and require(module) or { require = function() end }
	local file = skynet.getenv "snax_loader"
	loader = file and assert(dofile(file), "snax_loader must return a function")
end

--- Methods of a snax service and their numbers.
--- Raises when its file can't be found or isn't right.
---@param name string
---@return table interface  { name = string, accept = { NAME = id }, response = { NAME = id },
---  system = { init = 1, exit = 2, hotfix = 3, profile = 4 } }
function snax.interface(name)
	local known = interfaces[name]
	if known then
		return known
	end
	if reading_env == nil then
		setup_reading()
	end
	local result = { name = name, accept = {}, response = {}, system = {} }
	for _, entry in ipairs(snax_interface(name, reading_env, loader)) do
		local id, group, method = entry[1], entry[2], entry[3]
		result[group][method] = id
	end
	interfaces[name] = result
	return result
end

---------------------------------------------------------------------------------------------
-- Objects

local meta = {
	__tostring = function(self)
		return ("[%s:%x]"):format(self.type, self.handle)
	end,
}

local function senders(interface, handle)
	return setmetatable({}, {
		__index = function(_, name)
			local id = interface.accept[name]
			if not id then
				error(("post %s:%s no exist"):format(interface.name, tostring(name)), 2)
			end
			return function(...)
				skynet.send(handle, "snax", id, ...)
			end
		end,
	})
end

local function callers(interface, handle)
	return setmetatable({}, {
		__index = function(_, name)
			local id = interface.response[name]
			if not id then
				error(("request %s:%s no exist"):format(interface.name, tostring(name)), 2)
			end
			return function(...)
				return skynet.call(handle, "snax", id, ...)
			end
		end,
	})
end

--- Object for a snax service of known type.
--- Raises `assertion failed!` when the address is known as another type.
---@param handle integer
---@param name string
---@return snax.object
function snax.bind(handle, name)
	local object = objects[handle]
	if object then
		assert(object.type == name)
		return object
	end
	local interface = snax.interface(name)
	object = setmetatable({
		handle = handle,
		type = name,
		post = senders(interface, handle),
		req = callers(interface, handle),
	}, meta)
	objects[handle] = object
	return object
end

--- Object for this service; only in a snax service.
---@return snax.object
function snax.self()
	return snax.bind(skynet.self(), SERVICE_NAME)
end

---------------------------------------------------------------------------------------------
-- Starting and finding

--- Start a snax service and wait until its init returned.
--- Raises `call failed` when it can't start, or when init raised: then the service is gone.
---@param name string
---@param ... any  arguments of init, anything that can be packed
---@return integer handle
function snax.rawnewservice(name, ...)
	local interface = snax.interface(name)
	local handle = skynet.newservice("snaxd", name)
	assert(handle, "the snax service ended while it started")
	skynet.call(handle, "snax", interface.system.init, ...)
	return handle
end

--- As rawnewservice.
---@param name string
---@param ... any
---@return snax.object
function snax.newservice(name, ...)
	return snax.bind(snax.rawnewservice(name, ...), name)
end

local function ask(command, name, ...)
	return snax.bind(assert(skynet.call(".service", "lua", command, "snaxd", name, ...)), name)
end

--- The node's one service of this name; started by the first who asks.
---@param name string
---@param ... any  arguments of init
---@return snax.object
function snax.uniqueservice(name, ...)
	return ask("LAUNCH", name, ...)
end

--- As uniqueservice, one for all nodes of a harbor network.
---@param name string
---@param ... any
---@return snax.object
function snax.globalservice(name, ...)
	return ask("GLAUNCH", name, ...)
end

--- The node's one service of this name; waits until somebody starts it.
---@param name string
---@return snax.object
function snax.queryservice(name)
	return ask("QUERY", name)
end

--- As queryservice, for a globalservice.
---@param name string
---@return snax.object
function snax.queryglobal(name)
	return ask("GQUERY", name)
end

---------------------------------------------------------------------------------------------
-- Ending, patching, looking into

--- End a service; waits until its exit function ran.
---@param object snax.object
---@param ... any  arguments of its exit function
function snax.kill(object, ...)
	local system = snax.interface(object.type).system
	skynet.call(object.handle, "snax", system.exit, ...)
end

--- End this snax service. Doesn't return.
---@param ... any  arguments of its exit function
function snax.exit(...)
	snax.kill(snax.self(), ...)
end

local function check(ok, ...)
	if not ok then
		error(..., 0)
	end
	return ...
end

--- Replace methods of a running service.
--- Raises what the patch raises, `Patch mismatch <group>.<name>` for a method that the service
--- doesn't have, and `ambiguity local value <name>`.
---@param object snax.object
---@param source string  a chunk like a snax file; see snax.hotfix
---@param ... any  arguments of the patch's hotfix function
---@return any ...  what that returned
function snax.hotfix(object, source, ...)
	local system = snax.interface(object.type).system
	return check(skynet.call(object.handle, "snax", system.hotfix, source, ...))
end

--- How often each method ran, and its CPU time in seconds. An accept and a response method of
--- one name share an entry.
---@param object snax.object
---@return table<string, table>  name -> { count = integer, time = number }
function snax.profile_info(object)
	local system = snax.interface(object.type).system
	return skynet.call(object.handle, "snax", system.profile)
end

--- Log formatted text.
---@param fmt string
---@param ... any
function snax.printf(fmt, ...)
	skynet.error(fmt:format(...))
end

return snax
