--- Where datasheets come from: one service makes them and publishes new versions; others read them
--- with skynet.datasheet. Loading this module starts the service that keeps the documents.

local skynet = require "skynet"
local service = require "skynet.service"
local dump = require "skynet.datasheet.dump"

local builder = {}

local address
local sheets = {} -- name -> true: published by this service

local function document_of(v)
	if type(v) == "table" then
		return dump.dump(v)
	elseif type(v) ~= "string" then
		error(("datasheet: a %s is neither a table nor a compiled document"):format(type(v)), 3)
	end
	return v
end

--- A document, as `new` and `update` take it.
--- Raises `assertion failed!` for keys and `Unsupport value ...` for values it can't hold.
---@param v table
---@return string
function builder.compile(v)
	return dump.dump(v)
end

--- Publish a sheet. Raises `assertion failed!` when this service has published the name already.
---@param name string
---@param v table|string  a table, or what compile made of one
function builder.new(name, v)
	assert(sheets[name] == nil)
	skynet.call(address, "lua", "update", name, document_of(v))
	sheets[name] = true
end

--- Publish a new version, the whole of it. Tables keep their identity by path.
---@param name string
---@param v table|string
function builder.update(name, v)
	assert(sheets[name])
	skynet.call(address, "lua", "update", name, document_of(v))
end

-- The service. It runs in a VM of its own: nothing but globals may be used.
local function main()
	local skynet = require "skynet" -- luacheck: ignore
	local core = require "skynet.datasheet.core"
	local versions = require "skynet.sharedata.versions"
	local dump = require "skynet.datasheet.dump" -- luacheck: ignore
	local keeper = versions.new(core.delete, core.alive)
	local last = {} -- name -> document, for the numbers of its tables
	local command = {}

	local function count(t)
		local n = 0
		for _ in pairs(t) do
			n = n + 1
		end
		return n
	end

	-- also when another builder goes on where one has died
	function command.update(_, name, bytes)
		if last[name] then
			bytes = dump.diff(last[name], bytes)
		end
		keeper:publish(name, core.document(bytes))
		last[name] = bytes
	end

	function command.query(source, name)
		return keeper:query(source, name)
			or error(("datasheet: there is no sheet named %s"):format(tostring(name)))
	end

	-- the document has a reader in the VM that asked for it
	function command.release(source, handle)
		keeper:confirm(source, handle)
	end

	command.close = command.release

	function command.collect()
		for _, v in pairs(keeper.names) do
			keeper:prune(v)
		end
	end

	local function info()
		local result = {}
		for name, v in pairs(keeper.names) do
			result[name] = { handle = v.obj, monitors = #v.watchers }
		end
		for handle, v in pairs(keeper.objects) do
			if v.superseded then
				result[tostring(handle)] = count(v.pins)
			end
		end
		return result
	end

	skynet.start(function()
		skynet.dispatch("lua", function(session, source, cmd, ...)
			if cmd == "monitor" then
				local handle = ...
				local v = keeper.objects[handle]
				-- a version that is gone already: its reader asks again by name
				if v then
					keeper:monitor(source, v.name, handle)
				else
					skynet.retpack(nil)
				end
				return
			end
			local f = command[cmd] or error(("datasheet: unknown command %s"):format(tostring(cmd)))
			if session == 0 then
				f(source, ...)
			else
				skynet.retpack(f(source, ...))
			end
		end)
		skynet.info_func(info)
	end)
end

skynet.init(function()
	address = service.new("datasheet", main)
end)

return builder
