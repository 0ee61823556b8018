--- Owner of what skynet.sharedata shares: one current version of a document for each name.
--
-- Commands: new, update, delete from writers; query, monitor, confirm from readers (see
-- skynet.sharedata.versions).

local skynet = require "skynet"
local core = require "skynet.sharedata.core"
local cache = require "skynet.codecache"
local versions = require "skynet.sharedata.versions"

local keeper = versions.new(core.delete, core.alive)
local command = {}

-- Source text, or "@file": its table, or the globals it sets.
local function run_source(name, text, ...)
	local env = setmetatable({}, { __index = _G })
	local chunk
	if text:byte() == 64 then -- "@"
		cache.mode "OFF"
		local f, err = loadfile(text:sub(2), "bt", env)
		cache.mode "ON"
		chunk = assert(f, err)
	else
		chunk = assert(load(text, "=sharedata " .. name, "bt", env))
	end
	local result = chunk(...)
	if type(result) == "table" then
		return result
	end
	return setmetatable(env, nil)
end

local function new_object(name, value, ...)
	local kind = type(value)
	if kind == "string" then
		value = run_source(name, value, ...)
	elseif value == nil then
		value = {}
	elseif kind ~= "table" then
		error(("sharedata: a %s can't be shared (give a table, or Lua source as a string)"):format(kind))
	end
	return core.new(value)
end

local function check_name(name)
	if type(name) ~= "string" then
		error(("sharedata: a name must be a string, not a %s"):format(type(name)))
	end
end

local function check_free(name)
	if keeper.names[name] then
		error(("sharedata: %s exists already (use sharedata.update)"):format(name))
	end
end

local function not_there(name)
	error(("sharedata: there is no object named %s"):format(tostring(name)))
end

function command.new(_, name, value, ...)
	check_name(name)
	check_free(name)
	local obj = new_object(name, value, ...)
	if keeper.names[name] then -- the source has waited for something
		core.delete(obj)
		check_free(name)
	end
	keeper:publish(name, obj)
end

function command.update(_, name, value, ...)
	check_name(name)
	keeper:publish(name, new_object(name, value, ...), core.markdirty)
end

function command.delete(_, name)
	if not keeper.names[name] then
		not_there(name)
	end
	keeper:remove(name)
end

function command.query(source, name)
	return keeper:query(source, name) or not_there(name)
end

function command.confirm(source, obj)
	keeper:confirm(source, obj)
end

local function info()
	local result = {}
	for name, v in pairs(keeper.names) do
		result[name] = ("%d bytes, %d references, %d watchers"):format(core.size(v.obj),
			core.getref(v.obj), #v.watchers)
	end
	for obj, v in pairs(keeper.objects) do
		if v.superseded then
			result[tostring(obj)] = ("superseded, %d references"):format(core.getref(obj))
		end
	end
	return result
end

skynet.start(function()
	skynet.dispatch("lua", function(session, source, cmd, ...)
		if cmd == "monitor" then
			return keeper:monitor(source, ...)
		end
		local f = command[cmd] or error(("sharedatad: unknown command %s"):format(tostring(cmd)))
		if session == 0 then
			f(source, ...)
		else
			skynet.retpack(f(source, ...))
		end
	end)
	skynet.info_func(info)
end)
