--- Harbor mode: names and links of nodes that share one space of handles.

local skynet = require "skynet"

local harbor = {}

--- Register a global name. Returns at once.
---@param name string  at most 15 bytes
---@param handle integer|nil  default: this service
function harbor.globalname(name, handle)
	skynet.send(".cslave", "lua", "REGISTER", name, handle or skynet.self())
end

--- Handle of a global name; waits until somebody registers it. ".name": a local one, or nil.
---@param name string
---@return integer|nil
function harbor.queryname(name)
	return skynet.call(".cslave", "lua", "QUERYNAME", name)
end

--- Wait until the link to a node breaks.
---@param id integer  harbor id
function harbor.link(id)
	skynet.call(".cslave", "lua", "LINK", id)
end

--- Wait until a node is connected.
---@param id integer  harbor id
function harbor.connect(id)
	skynet.call(".cslave", "lua", "CONNECT", id)
end

--- Wait until the link to the master breaks.
function harbor.linkmaster()
	skynet.call(".cslave", "lua", "LINKMASTER")
end

return harbor
