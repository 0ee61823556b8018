--- A tree of values that every service of the node, and of all harbors, can read and set.

local skynet = require "skynet"

local datacenter = {}

--- The value at a path; a branch is returned as a copy.
---@param ... any  keys
---@return any  nil when there's none
function datacenter.get(...)
	return skynet.call("DATACENTER", "lua", "QUERY", ...)
end

--- Set the value at a path; the last argument is the value, nil deletes.
---@param ... any  keys and value
---@return any previous
function datacenter.set(...)
	return skynet.call("DATACENTER", "lua", "UPDATE", ...)
end

--- The value at a path; waits until it's set.
---@param ... any  keys
---@return any
function datacenter.wait(...)
	return skynet.call("DATACENTER", "lua", "WAIT", ...)
end

return datacenter
