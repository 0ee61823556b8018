--- Datasheets: configuration tables that a builder (skynet.datasheet.builder) publishes and other
--- services read as ordinary tables, filled from the shared document level by level at first use.
--
-- What a service writes into such a table is its own and lost at the next update. Integers beyond
-- 32 bits and fractions are 32-bit floats (see skynet.datasheet.dump).

local skynet = require "skynet"
local service = require "skynet.service"
local core = require "skynet.datasheet.core"

local datasheet = {}

local address
local sheets = {} -- name -> root table
local asking = {} -- name -> coroutines that wait for the one who asks

-- Loading this module waits until some service has loaded the builder.
skynet.init(function()
	address = service.query "datasheet"
end)

-- f(handle) for a document that was just handed out, then tell that it's in use.
local function take(handle, f)
	local ok, result = pcall(f, handle)
	skynet.send(address, "lua", "release", handle)
	return ok, result
end

local function watch(name, handle)
	while true do
		local ok, newer = pcall(skynet.call, address, "lua", "monitor", handle)
		if not ok then
			return -- the service is gone: what was read stays
		end
		if newer == nil then
			newer = skynet.call(address, "lua", "query", name)
		end
		take(newer, function(h)
			core.update(sheets[name], h)
		end)
		handle = newer
	end
end

local function fetch(name)
	local handle, ok, root
	repeat
		handle = skynet.call(address, "lua", "query", name)
		ok, root = take(handle, core.new)
	until ok
	sheets[name] = root
	skynet.fork(watch, name, handle)
	return root
end

--- The root table of a sheet; it and its sub-tables keep their identity over updates.
--- Raises `call failed` when there's no such sheet.
---@param name string
---@return table
function datasheet.query(name)
	while asking[name] do
		local co = coroutine.running()
		table.insert(asking[name], co)
		skynet.wait(co)
	end
	if sheets[name] then
		return sheets[name]
	end
	asking[name] = {}
	local ok, result = pcall(fetch, name)
	local waiting = asking[name]
	asking[name] = nil
	for _, co in ipairs(waiting) do
		skynet.wakeup(co)
	end
	if not ok then
		error(result, 0)
	end
	return result
end

return datasheet
