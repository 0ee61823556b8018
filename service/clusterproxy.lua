--- A local stand-in for one service of another node: what it gets of types lua and snax goes
--- there, and the answer comes back as it is.

local cluster = require "skynet.cluster"
local give = require "skynet.cluster.core".give
local skynet = require "skynet"
require "skynet.manager"

local node, address = ...

skynet.register_protocol {
	name = "system",
	id = skynet.PTYPE_SYSTEM,
	unpack = function(...)
		return ...
	end,
}

-- messages of these types are handed over whole, and their blocks go on to the sender
local forward_map = {
	[skynet.PTYPE_SNAX] = skynet.PTYPE_SYSTEM,
	[skynet.PTYPE_LUA] = skynet.PTYPE_SYSTEM,
	[skynet.PTYPE_RESPONSE] = skynet.PTYPE_RESPONSE,
}

skynet.forward_type(forward_map, function()
	local sender = assert(cluster.get_sender(node), "the cluster node is not available")
	address = tonumber(address) or address

	skynet.dispatch("system", function(session, _, msg, sz)
		if session == 0 then
			skynet.send(sender, "lua", "push", address, give(msg, sz))
		else
			skynet.ret(skynet.rawcall(sender, "lua", skynet.pack("req", address, give(msg, sz))))
		end
	end)
end)
