--- Holder of the datacenter: a tree of tables, and who waits for which of its leaves.

local skynet = require "skynet"

local database = {}
-- path -> list of response closures; branches are tables, leaves are marked by `list`
local waiting = {}
local commands = {}

local function lookup(node, key, ...)
	if key == nil then
		return node
	end
	if type(node) ~= "table" then
		error(("there is no branch at %s"):format(tostring(key)))
	end
	return lookup(node[key], ...)
end

function commands.QUERY(key, ...)
	local node = database[key]
	if node == nil then
		return nil
	end
	if select("#", ...) == 0 then
		return node
	end
	-- a missing branch is a missing value
	for i = 1, select("#", ...) do
		if node == nil then
			return nil
		end
		node = lookup(node, (select(i, ...)))
	end
	return node
end

local function update(node, key, value, ...)
	if select("#", ...) == 0 then
		local previous = node[key]
		node[key] = value
		return previous, value
	end
	local branch = node[key]
	if branch == nil then
		branch = {}
		node[key] = branch
	elseif type(branch) ~= "table" then
		error(("%s is a value, not a branch"):format(tostring(key)))
	end
	return update(branch, value, ...)
end

-- Who waits for exactly this leaf; raises when it's a branch of other waits, or below a leaf.
local function take_waiting(node, key, ...)
	if node == nil then
		return
	end
	local entry = node[key]
	if entry == nil then
		return
	end
	if select("#", ...) == 1 then -- the value
		if entry.list then
			node[key] = nil
			return entry.list
		end
		return
	end
	if entry.list then
		-- a branch grows where somebody waits for a value
		for _, response in ipairs(entry.list) do
			response(false)
		end
		node[key] = nil
		return
	end
	return take_waiting(entry, ...)
end

function commands.UPDATE(...)
	local previous, value = update(database, ...)
	if previous ~= nil or value == nil then
		return previous
	end
	local list = take_waiting(waiting, ...)
	if list then
		for _, response in ipairs(list) do
			response(true, value)
		end
	end
end

local function wait_for(node, key, ...)
	local entry = node[key]
	if select("#", ...) == 0 then
		if entry == nil then
			entry = { list = {} }
			node[key] = entry
		end
		assert(entry.list, "others wait for values below this one")
		entry.list[#entry.list + 1] = skynet.response()
		return
	end
	if entry == nil then
		entry = {}
		node[key] = entry
	end
	assert(not entry.list, "others wait for this branch as a value")
	return wait_for(entry, ...)
end

skynet.start(function()
	skynet.dispatch("lua", function(_, _, cmd, ...)
		if cmd == "WAIT" then
			local value = commands.QUERY(...)
			if value ~= nil then
				skynet.retpack(value)
			else
				wait_for(waiting, ...)
			end
		else
			local f = assert(commands[cmd], "unknown command")
			skynet.retpack(f(...))
		end
	end)
end)
