--- Who waits for whom: within a service, across the services of a node, and over cluster links.
--
-- Each service lists its waits (debug command WAITS): one record for each coroutine that waits in
-- a call, a request set or a critical section, or that handles a request. Records are joined by
-- request: a call of session n by service a is handled by the record with source a, request n.
--
-- Fields of a record: id (unique in the service), kind ("call", "select", "queue", "link", or
-- what else it does), since (seconds), where ("file:line"), source and request (what it handles),
-- to (handle or name called) and session, holder (id of who is inside the critical section);
-- from and text replace the service and its target in reports.
--
-- A cycle of records each of which waits for exactly one other can't come apart by itself: that
-- is a deadlock. Two services that merely call each other aren't one: both go on handling
-- requests meanwhile.

local d = require "skynet.dispatch"
local debug_protocol = require "skynet.debug"
local skynet = require "skynet"

local M = {}

local collecting -- the coroutine that asks for waits: its own don't count

---------------------------------------------------------------------------------------------
-- One service

local framework = debug.getinfo(skynet.start, "S").source:match "^(.*[/\\])[^/\\]*$"

-- Source line of a coroutine: the innermost one that isn't the framework's.
local function line_of(co)
	local inner
	local level = 0
	local info = debug.getinfo(co, level, "Sl")
	while info do
		if info.currentline > 0 then
			local text = ("%s:%d"):format(info.short_src, info.currentline)
			if info.source:sub(1, #framework) ~= framework then
				return text
			end
			inner = inner or text
		end
		level = level + 1
		info = debug.getinfo(co, level, "Sl")
	end
	return inner
end

local function id_of(co)
	return tostring(co):match "0x%x+" or tostring(co)
end

-- The coroutine that goes through the answers of a request set; `handler` takes one of them.
local function selecting(handler, sleepers)
	local i = 1
	while true do
		local name, value = debug.getupvalue(handler, i)
		if not name then
			return nil
		elseif name == "set" then
			local co = sleepers[value] and d.inspect("session", sleepers[value])
			return type(co) == "thread" and co or nil
		end
		i = i + 1
	end
end

-- Add what the coroutine handles and where it stands.
local function describe(record, co, task)
	record.id = id_of(co)
	record.where = line_of(co)
	if task and task.request and task.request ~= 0 then
		record.source, record.request = task.source, task.request
	end
	local lock = debug_protocol.locks[co]
	local owner = lock and lock.owner
	if owner and owner ~= co then
		record.kind, record.holder = "queue", id_of(owner)
	end
	return record
end

--- Waits of this service, as WAITS answers them.
---@return table[] records
function M.own()
	local list, seen = {}, {}
	local tasks = d.inspect "tasks"
	local sleepers = d.queues().sleep_session
	for _, w in ipairs(d.inspect "waits") do
		local co = w.who
		local record = { kind = w.kind, since = w.since, session = w.session,
			to = w.callee or w.name }
		if w.kind == "select" then
			co = selecting(co, sleepers)
		end
		if type(co) == "thread" and co ~= collecting then
			describe(record, co, tasks[co])
			seen[co] = true
			if record.to or record.holder or record.request then
				list[#list + 1] = record
			end
		end
	end
	for co, task in pairs(tasks) do
		if not seen[co] and co ~= coroutine.running() and task.request then
			list[#list + 1] = describe({ kind = "run" }, co, task)
		end
	end
	for _, more in ipairs(debug_protocol.waits) do
		for _, record in ipairs(more()) do
			list[#list + 1] = record
		end
	end
	return list
end

---------------------------------------------------------------------------------------------
-- The node

---@class skynet.waits
---@field records table[]    all of them, each with its service in `at`
---@field handled table      [service][source][request] -> record
---@field silent table       services that didn't answer: handle -> true

--- Ask every service of the node for its waits.
---@param services integer[]  handles
---@param timeout integer  cs
---@return skynet.waits
function M.collect(services, timeout)
	local all = { records = {}, handled = {}, silent = {} }
	local req = skynet.request()
	for _, handle in ipairs(services) do
		all.silent[handle] = true
		req:add { handle, "debug", "WAITS" }
	end
	collecting = coroutine.running()
	for r, resp in req:select(timeout) do
		local at = r[1]
		if resp then
			all.silent[at] = nil
			all.handled[at] = all.handled[at] or {}
			for _, record in ipairs(resp[1]) do
				record.at = at
				all.records[#all.records + 1] = record
				if record.source then
					local by = all.handled[at]
					by[record.source] = by[record.source] or {}
					by[record.source][record.request] = record
				end
			end
		end
	end
	collecting = nil
	return all
end

local function handle_of(to)
	if type(to) == "string" then
		if to:sub(1, 1) == ":" then
			return tonumber(to:sub(2), 16)
		end
		return to:sub(1, 1) == "." and skynet.localname(to) or nil
	end
	return to
end

-- The record that a record waits for, if it's known; one of several for a request set.
local function target(all, by_id, record)
	if record.holder then
		return by_id[record.at] and by_id[record.at][record.holder]
	elseif record.session and record.to then
		local by = all.handled[handle_of(record.to)]
		return by and by[record.at] and by[record.at][record.session]
	end
end

local function index(all)
	local by_id = {}
	for _, record in ipairs(all.records) do
		by_id[record.at] = by_id[record.at] or {}
		by_id[record.at][record.id] = record
	end
	return by_id
end

--- Cycles of records that wait for each other.
---@param all skynet.waits
---@return table[][] cycles
function M.deadlocks(all)
	local by_id, cycles, state = index(all), {}, {}
	for _, start in ipairs(all.records) do
		local path = {}
		local record = start
		while record and not state[record] do
			state[record] = start
			path[#path + 1] = record
			-- a request set may go on with any of its answers
			record = record.kind ~= "select" and target(all, by_id, record) or nil
		end
		if record and state[record] == start then -- came back to this walk's own path
			local cycle = {}
			for i = #path, 1, -1 do
				table.insert(cycle, 1, path[i])
				if path[i] == record then
					break
				end
			end
			cycles[#cycles + 1] = cycle
		end
	end
	return cycles
end

local function place(record)
	return record.from or ("%s (%s)"):format(skynet.address(record.at), record.where or "?")
end

local function callee_text(record, next_record)
	if record.holder then
		return "the critical section's holder"
	elseif next_record and next_record.text then
		return next_record.text
	elseif type(record.to) == "string" and record.to:sub(1, 1) ~= ":" then
		local handle = handle_of(record.to)
		return handle and ("%s (%s)"):format(record.to, skynet.address(handle)) or record.to
	end
	return skynet.address(handle_of(record.to) or record.to)
end

-- What is known of the other side.
local function beyond(all, record, next_record)
	if next_record then
		if next_record.text then
			return nil -- another node: its own console tells more
		end
		return ("there: %s at %s"):format(next_record.kind, next_record.where or "?")
	end
	local handle = handle_of(record.to)
	if all.silent[handle] then
		return "which doesn't answer: stuck, overloaded or no Lua service"
	elseif all.handled[handle] then
		return "which has not taken it up, or answers later"
	end
end

--- Lines for people: each wait, the longest first, then deadlocks.
---@param all skynet.waits
---@param max integer  waits to show
---@return string[] lines
function M.report(all, max)
	local by_id, shown, lines = index(all), {}, {}
	for _, record in ipairs(all.records) do
		if record.kind == "call" or record.kind == "select" or record.holder
			or record.kind == "link" then
			shown[#shown + 1] = record
		end
	end
	table.sort(shown, function(a, b)
		return (a.since or 0) > (b.since or 0)
	end)
	for i = 1, math.min(#shown, max) do
		local record = shown[i]
		local next_record = target(all, by_id, record)
		local more = beyond(all, record, next_record)
		lines[i] = ("%s -> %s\t%.2fs%s"):format(place(record),
			callee_text(record, next_record), record.since or 0, more and "\t" .. more or "")
	end
	if #shown > max then
		lines[#lines + 1] = ("... and %d more"):format(#shown - max)
	end
	for _, cycle in ipairs(M.deadlocks(all)) do
		local names = {}
		for i, record in ipairs(cycle) do
			names[i] = place(record)
		end
		names[#names + 1] = names[1]
		lines[#lines + 1] = "DEADLOCK\t" .. table.concat(names, " -> ")
	end
	return lines
end

return M
