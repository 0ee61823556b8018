--- Holder of the datacenter: a tree of tables, and who waits for which of its values.

local skynet = require "skynet"

local database = {}
-- Who waits: a tree of the same keys. A node has `responses` (closures that wait for a value right
-- there) or `below` (key -> node), not both.
local waiting = { below = {} }
local command = {}

local function step(node, key)
	if node == nil then
		return nil
	elseif type(node) ~= "table" then
		error(("datacenter: there is no branch above %s, but a value"):format(tostring(key)))
	end
	return node[key]
end

function command.QUERY(...)
	local n = select("#", ...)
	if n == 0 then
		return nil
	end
	local node = database
	for i = 1, n do
		node = step(node, (select(i, ...)))
	end
	return node
end

-- Store a value at keys[1..n]; returns what was there.
local function store(keys, n, value)
	local node = database
	for i = 1, n do
		local key = keys[i]
		if key == nil then
			error(("datacenter: key %d of %d is nil"):format(i, n))
		elseif i == n then
			local previous = node[key]
			node[key] = value
			return previous
		end
		local branch = node[key]
		if branch == nil then
			branch = {}
			node[key] = branch
		elseif type(branch) ~= "table" then
			error(("datacenter: %s is a value, not a branch"):format(tostring(key)))
		end
		node = branch
	end
end

local function fail_all(node)
	for _, respond in ipairs(node.responses or {}) do
		respond(false)
	end
	for _, child in pairs(node.below or {}) do
		fail_all(child)
	end
end

-- The node's place has this value now. Returns whether nobody waits there any more.
local function settle(node, value)
	if value == nil then
		return false
	elseif node.responses then
		for _, respond in ipairs(node.responses) do
			respond(true, value)
		end
		return true
	elseif type(value) ~= "table" then
		fail_all(node) -- below a plain value nothing can come
		return true
	end
	for key, child in pairs(node.below) do
		if settle(child, value[key]) then
			node.below[key] = nil
		end
	end
	return next(node.below) == nil
end

-- Answer those whom a new value at keys[i..n] concerns, below `node`.
local function wake(node, keys, i, n, value)
	local child = node.below[keys[i]]
	local done
	if not child then
		return
	elseif i == n then
		done = settle(child, value)
	elseif child.responses then
		fail_all(child) -- a branch grew where they wait for a value
		done = true
	else
		wake(child, keys, i + 1, n, value)
		done = next(child.below) == nil
	end
	if done then
		node.below[keys[i]] = nil
	end
end

function command.UPDATE(...)
	local keys = table.pack(...)
	local n = math.max(keys.n - 1, 1) -- without a value, as with nil: delete
	local value
	if keys.n > 1 then
		value = keys[keys.n]
	end
	local previous = store(keys, n, value)
	wake(waiting, keys, 1, n, value)
	return previous
end

local function wait_for(...)
	local n = select("#", ...)
	local node = waiting
	for i = 1, n do
		local key = select(i, ...)
		assert(key ~= nil, "datacenter: a key is nil")
		assert(node.below, "datacenter: others wait for this branch as a value")
		local child = node.below[key]
		if not child then
			child = i == n and { responses = {} } or { below = {} }
			node.below[key] = child
		end
		node = child
	end
	assert(node.responses, "datacenter: others wait for values below this one")
	table.insert(node.responses, skynet.response())
end

function command.WAIT(...)
	local value = command.QUERY(...)
	if value ~= nil then
		skynet.retpack(value)
	else
		wait_for(...)
	end
end

skynet.start(function()
	skynet.dispatch("lua", function(_, _, cmd, ...)
		local f = command[cmd] or error(("datacenter: unknown command %s"):format(tostring(cmd)))
		if cmd == "WAIT" then
			f(...)
		else
			skynet.retpack(f(...))
		end
	end)
end)
