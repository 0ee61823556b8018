--- Owner of what skynet.sharedata shares: one current version for each name.
--
-- Every version that was handed out (the answer to `query` or `monitor`) counts as pinned until
-- the service that asked confirms it: by then its box holds a reference of its own. A version that
-- was superseded is given up as soon as nothing pins it. The receiver of an answer may die before
-- it confirms: its pin goes when the version is superseded, or a minute after that.

local skynet = require "skynet"
local core = require "skynet.sharedata.core"
local cache = require "skynet.codecache"

local PIN_LIMIT = 6000 -- cs

local names = {} -- name -> version
local versions = {} -- object -> version: obj, pins (address -> count), superseded, watchers, prune_at
local command = {}

local owned = { __gc = function(v) pcall(core.delete, v.obj) end } -- also when this service ends

local function give_up(v)
	versions[v.obj] = nil
	setmetatable(v, nil)
	core.delete(v.obj)
end

local function pin(v, source)
	v.pins[source] = (v.pins[source] or 0) + 1
end

local function supersede(v)
	v.superseded = true
	for source in pairs(v.pins) do
		if not core.alive(source) then
			v.pins[source] = nil
		end
	end
	if next(v.pins) == nil then
		give_up(v)
		return
	end
	skynet.timeout(PIN_LIMIT, function()
		if versions[v.obj] == v then
			give_up(v)
		end
	end)
end

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

local function new_version(name, value, ...)
	local kind = type(value)
	if kind == "string" then
		value = run_source(name, value, ...)
	elseif value == nil then
		value = {}
	elseif kind ~= "table" then
		error(("sharedata: a %s can't be shared (give a table, or Lua source as a string)"):format(kind))
	end
	return setmetatable({ obj = core.new(value), pins = {}, watchers = {}, prune_at = 16 }, owned)
end

local function publish(name, v)
	local old = names[name]
	names[name] = v
	versions[v.obj] = v
	if not old then
		return
	end
	core.markdirty(old.obj)
	for _, w in ipairs(old.watchers) do
		if w.answer(true, v.obj) then
			pin(v, w.source)
		end
	end
	old.watchers = {}
	supersede(old)
end

local function check_name(name)
	if type(name) ~= "string" then
		error(("sharedata: a name must be a string, not a %s"):format(type(name)))
	end
end

local function existing(name)
	return names[name] or error(("sharedata: there is no object named %s"):format(tostring(name)))
end

local function check_free(name)
	if names[name] then
		error(("sharedata: %s exists already (use sharedata.update)"):format(name))
	end
end

function command.new(_, name, value, ...)
	check_name(name)
	check_free(name)
	local v = new_version(name, value, ...)
	check_free(name) -- the source may have waited for something; v goes with the garbage then
	publish(name, v)
end

function command.update(_, name, value, ...)
	check_name(name)
	publish(name, new_version(name, value, ...))
end

function command.delete(_, name)
	local v = existing(name)
	names[name] = nil
	for _, w in ipairs(v.watchers) do
		w.answer(true, nil)
	end
	v.watchers = {}
	supersede(v)
end

function command.query(source, name)
	local v = existing(name)
	pin(v, source)
	return v.obj
end

function command.confirm(source, obj)
	local v = versions[obj]
	local n = v and v.pins[source]
	if not n then
		return
	end
	v.pins[source] = n > 1 and n - 1 or nil
	if v.superseded and next(v.pins) == nil then
		give_up(v)
	end
end

-- Watchers that died would pile up until the next version: look whenever their number doubled.
local function prune(v)
	local alive = {}
	for _, w in ipairs(v.watchers) do
		if core.alive(w.source) then
			alive[#alive + 1] = w
		end
	end
	v.watchers = alive
	v.prune_at = math.max(16, #alive * 2)
end

-- The version after `obj`, now or as soon as there is one; nil when the name is deleted.
local function monitor(source, name, obj)
	local v = names[name]
	if v and v.obj == obj then
		table.insert(v.watchers, { source = source, answer = skynet.response() })
		if #v.watchers >= v.prune_at then
			prune(v)
		end
	else
		if v then
			pin(v, source)
		end
		skynet.retpack(v and v.obj)
	end
end

local function info()
	local result = {}
	for name, v in pairs(names) do
		result[name] = ("%d bytes, %d references, %d watchers"):format(core.size(v.obj),
			core.getref(v.obj), #v.watchers)
	end
	for obj, v in pairs(versions) do
		if v.superseded then
			result[tostring(obj)] = ("superseded, %d references"):format(core.getref(obj))
		end
	end
	return result
end

skynet.start(function()
	skynet.dispatch("lua", function(session, source, cmd, ...)
		if cmd == "monitor" then
			return monitor(source, ...)
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
