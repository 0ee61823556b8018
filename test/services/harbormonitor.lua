--- A node's monitor: prints which services end.

local skynet = require "skynet"

skynet.register_protocol {
	name = "client",
	id = skynet.PTYPE_CLIENT,
	unpack = function() end,
	dispatch = function(_, source)
		print("monitor: gone " .. source)
		io.stdout:flush()
	end,
}

skynet.start(function() end)
