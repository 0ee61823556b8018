--- Read-only tables that all services of the process share without copying them.
--
-- The service sharedatad owns the documents. A service that queries one reads it through a box
-- (see skynet.sharedata.corelib) and keeps a request open there, which is answered with the next
-- version. sharedatad holds each version it has handed out until that's confirmed.

local skynet = require "skynet"
local core = require "skynet.sharedata.core"
local corelib = require "skynet.sharedata.corelib"

local sharedata = {}

local service
local cache = setmetatable({}, { __mode = "v" }) -- name -> box
local watched = {} -- name -> true while a request for the next version is open

skynet.init(function()
	service = skynet.uniqueservice "sharedatad"
end)

-- f(obj) for an object that was just handed out, then confirm. false when it's gone already, as
-- after the minute that sharedatad waits for a service that is stuck.
local function take(obj, f)
	local ok, result = pcall(f, obj)
	skynet.send(service, "lua", "confirm", obj)
	if not ok and pcall(core.getref, obj) then
		error(result, 0) -- it's there, so that wasn't it
	end
	return ok, result
end

-- Move the box of a name, if it's still in use, to a newer version. Returns the version it's at
-- now. A function of its own, so that no blocked coroutine's stack keeps the box.
local function advance(name, newer)
	local box = cache[name]
	if not box then
		skynet.send(service, "lua", "confirm", newer)
		return nil
	end
	take(newer, function(obj)
		if core.object(box) ~= obj and core.needupdate(box) then
			corelib.update(box, obj)
		end
	end)
	return core.object(box)
end

-- Follow the versions of a name for as long as this service holds its box.
local function watch(name, obj)
	while obj do
		local ok, newer = pcall(skynet.call, service, "lua", "monitor", name, obj)
		if not ok or newer == nil then
			-- the service is gone, or the name was deleted: who has the box keeps reading
			cache[name] = nil
			break
		end
		obj = advance(name, newer)
	end
	watched[name] = nil
end

--- The box of a name; the same one while this service holds it. It shows newer versions by itself.
--- Raises `call failed` when there's no such name.
---@param name string
---@return table
function sharedata.query(name)
	while true do
		local box = cache[name]
		if box then
			return box
		end
		local obj = skynet.call(service, "lua", "query", name)
		if cache[name] then
			skynet.send(service, "lua", "confirm", obj)
		else
			local ok
			ok, box = take(obj, corelib.box)
			if ok then
				cache[name] = box
				if not watched[name] then
					watched[name] = true
					skynet.fork(watch, name, obj)
				end
				return box
			end
		end
	end
end

--- Create a name. Raises `call failed` when it exists or the value can't be shared.
---@param name string
---@param value table|string|nil  nil: {}; string: Lua source that returns a table or sets globals;
---  "@file": a file of such source
---@param ... any  arguments of the source
function sharedata.new(name, value, ...)
	skynet.call(service, "lua", "new", name, value, ...)
end

--- Publish a new version; creates the name if it's new. Services learn of it by message.
---@param name string
---@param value table|string|nil  as for new
---@param ... any
function sharedata.update(name, value, ...)
	skynet.call(service, "lua", "update", name, value, ...)
end

--- Forget a name. Services that hold its box can still read it.
---@param name string
function sharedata.delete(name)
	skynet.call(service, "lua", "delete", name)
end

local function loosen(weak)
	for _, box in pairs(cache) do
		corelib.flush(box)
		core.weaken(box, weak)
	end
end

--- Bind all boxes of this service to their current versions now, and collect what isn't used.
function sharedata.flush()
	loosen(true)
	collectgarbage()
	loosen(false)
end

--- A plain Lua copy of the value at a path below a name; nothing when there's none, or it's false.
--- Raises `call failed` when there's no such name.
---@param name string
---@param ... string|integer
---@return any
function sharedata.deepcopy(name, ...)
	local path = table.pack(...)
	local function copy(obj)
		return table.pack(corelib.copy(obj, table.unpack(path, 1, path.n)))
	end
	while true do
		local ok, results = take(skynet.call(service, "lua", "query", name), copy)
		if ok then
			return table.unpack(results, 1, results.n)
		end
	end
end

return sharedata
