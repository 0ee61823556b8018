--- A tree of values that every service of the node, and of all harbors, can read and set.

local skynet = require "skynet"

local datacenter = {}

--- The value at a path; a branch is returned as a copy.
--- Raises `call failed` when a plain value is where the path needs a branch.
---@param ... any  keys
---@return any  nil when there's none
function datacenter.get(...)
	return skynet.call("DATACENTER", "lua", "QUERY", ...)
end

--- Set the value at a path; the last argument is the value, nil deletes. Branches on the way are
--- made. Raises `call failed` when a plain value is where the path needs a branch.
---@param ... any  keys and value
---@return any previous
function datacenter.set(...)
	return skynet.call("DATACENTER", "lua", "UPDATE", ...)
end

--- The value at a path; waits until it's set.
--- Raises `call failed` when it can't come any more: a plain value was set above it, or values
--- below it; and when others wait for values below it, or for a branch above it as a value.
---@param ... any  keys
---@return any
function datacenter.wait(...)
	return skynet.call("DATACENTER", "lua", "WAIT", ...)
end

return datacenter
