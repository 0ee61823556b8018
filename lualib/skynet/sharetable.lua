--- Tables that all services of the process read in place.
--
-- One service keeps the newest version of each key. A reader gets the table itself, not a copy:
-- a true table, which nobody can change. A newer version leaves what readers have as it is,
-- until they call update. A version is freed when no service uses it any more: services tell
-- when they have dropped one, and the sharetable service watches them for their end.

local skynet = require "skynet"
local service = require "skynet.service"
local core = require "skynet.sharetable.core"

local sharetable = {
	is_sharedtable = core.is_sharedtable,
	stackvalues = core.stackvalues,
}

-- The service. (It runs in another VM: only _ENV may come along.)
local function sharetable_service()
	local skynet = require "skynet" -- luacheck: ignore
	local core = require "skynet.sharetable.core" -- luacheck: ignore

	local current = {}  -- key -> version
	local versions = {} -- address of its table -> version
	local clients = {}  -- service -> set of versions it was given

	-- A version: key, matrix, ptr, users = { service -> how often it was given the version }

	local function reap(v)
		if v == current[v.key] or next(v.users) or not versions[v.ptr] then
			return
		end
		versions[v.ptr] = nil
		v.matrix:close()
		skynet.error(("Delete a version (%s) of %s"):format(v.ptr, v.key))
	end

	local function publish(key, matrix)
		local old = current[key]
		local v = { key = key, matrix = matrix, ptr = matrix:getptr(), users = {} }
		current[key] = v
		versions[v.ptr] = v
		if old then
			old.matrix:retire()
			reap(old)
		end
	end

	local function forget(source)
		local used = clients[source]
		clients[source] = nil
		for v in pairs(used or {}) do
			v.users[source] = nil
			reap(v)
		end
	end

	-- Nobody answers LINK: it ends, with an error, when the service does.
	local function watch(source)
		pcall(skynet.call, source, "debug", "LINK")
		forget(source)
	end

	local function give(source, key)
		local v = current[key]
		if not v then
			return
		end
		if not clients[source] then
			clients[source] = {}
			skynet.fork(watch, source)
		end
		clients[source][v] = true
		v.users[source] = (v.users[source] or 0) + 1
		return v.ptr
	end

	local command = {}

	function command.loadfile(_, path, ...)
		publish(path, core.matrix("@" .. path, ...))
	end

	function command.loadstring(_, key, source, ...)
		publish(key, core.matrix(source, ...))
	end

	function command.loadtable(_, key, tbl)
		publish(key, core.freeze(tbl))
		tbl = nil -- luacheck: ignore
	end

	command.query = give

	function command.queryall(source, list)
		local found = {}
		if list then
			for _, key in pairs(list) do
				found[key] = give(source, key)
			end
		else
			for key in pairs(current) do
				found[key] = give(source, key)
			end
		end
		return found
	end

	-- The service has no reference left of what it was given n times.
	function command.release(source, ptr, n)
		local v = versions[ptr]
		local given = v and v.users[source]
		if not given then
			return
		end
		if given > n then
			v.users[source] = given - n
		else
			v.users[source] = nil
			clients[source][v] = nil
			reap(v)
		end
	end

	-- The service gives back all it has.
	function command.close(source)
		forget(source)
	end

	local function history(key)
		local lines = {}
		for ptr, v in pairs(versions) do
			if v.key == key then
				local users = {}
				for address in pairs(v.users) do
					users[#users + 1] = skynet.address(address)
				end
				table.sort(users)
				lines[#lines + 1] = ("%s [%d]: (%s)"):format(ptr, v.matrix:size(),
					table.concat(users, ","))
			end
		end
		table.sort(lines)
		return table.concat(lines, "\n")
	end

	skynet.info_func(function()
		local info = {}
		for key, v in pairs(current) do
			info[key] = { current = v.ptr, size = v.matrix:size(), history = history(key) }
		end
		return info
	end)

	skynet.start(function()
		skynet.dispatch("lua", function(session, source, cmd, ...)
			local f = command[cmd]
			if not f then
				error(("sharetable: unknown command %s"):format(cmd))
			end
			if session == 0 then
				f(source, ...)
			else
				skynet.retpack(f(source, ...))
			end
		end)
	end)
end

setmetatable(sharetable, {
	__index = function(t, k)
		if k == "address" then
			local address = service.new("sharetable", sharetable_service)
			t.address = address
			return address
		end
	end,
})

local given = {} -- key -> { address of a version's table -> how often it was given }
local newest = {} -- key -> address of the newest version known here

-- Tell the service what this VM has dropped. (It drops a version at a full collection only.)
local function sweep()
	for key, versions in pairs(given) do
		for ptr, n in pairs(versions) do
			if not core.held(ptr) then
				versions[ptr] = nil
				skynet.send(sharetable.address, "lua", "release", ptr, n)
				if newest[key] == ptr then
					newest[key] = nil
				end
			end
		end
		if next(versions) == nil then
			given[key] = nil
		end
	end
end

-- Runs when the collector has finished a cycle.
local function arm()
	setmetatable({}, {
		__gc = function()
			if next(given) then
				sweep()
			end
			arm()
		end,
	})
end

local function take(key, ptr)
	local t = core.clone(ptr)
	local versions = given[key]
	if not versions then
		versions = {}
		given[key] = versions
	end
	versions[ptr] = (versions[ptr] or 0) + 1
	newest[key] = ptr
	return t
end

local function ask(...)
	return skynet.call(sharetable.address, "lua", ...)
end

--- Make the table that a file returns known as `path`; it replaces an earlier one. The file runs
--- in a plain Lua state of its own. Raises `call failed` when that fails (the service's log tells
--- why); the earlier version stays then.
---@param path string
---@param ... boolean|number|lightuserdata|function  arguments; functions: in C, without upvalues
function sharetable.loadfile(path, ...)
	ask("loadfile", path, ...)
end

--- The same for a source text; one that begins with `@` is a file name.
---@param key string
---@param source string
---@param ... boolean|number|lightuserdata|function
function sharetable.loadstring(key, source, ...)
	ask("loadstring", key, source, ...)
end

--- The same for a copy of a table of this service.
---@param key string
---@param tbl table  anything that can be packed
function sharetable.loadtable(key, tbl)
	ask("loadtable", key, tbl)
end

--- The newest version.
---@param key string
---@return table? shared  read-only; nothing if the key was never loaded
function sharetable.query(key)
	local ptr = ask("query", key)
	if ptr then
		return take(key, ptr)
	end
end

--- Many at once.
---@param list string[]?  keys; absent: all
---@return table<string, table>
function sharetable.queryall(list)
	local found = ask("queryall", list)
	for key, ptr in pairs(found) do
		found[key] = take(key, ptr)
	end
	return found
end

--- Get the newest versions of the keys, and replace with them every reference of this VM to an
--- older one and (by path) to the tables in it: in tables, upvalues, coroutines, metatables, user
--- values. A path that's gone becomes nil. Ends with a full collection if this VM had older versions.
---@param ... string  keys
function sharetable.update(...)
	local stale = false
	for _, key in ipairs { ... } do
		if given[key] and sharetable.query(key) then
			for ptr in pairs(given[key]) do
				if ptr ~= newest[key] and core.held(ptr) then
					core.replace(ptr, newest[key])
					stale = true
				end
			end
		end
	end
	if stale then
		collectgarbage "collect" -- drops them
	end
	sweep()
end

arm()

return sharetable
