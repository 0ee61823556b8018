-- What a service holds must not change by what it did: see test/unit/charges_spec.lua.
local skynet = require "skynet"
local socket = require "skynet.socket"
require "skynet.manager"

local role, target = ...

if role == "forwarder" then
	target = tonumber(target)
	skynet.forward_type({ [skynet.PTYPE_LUA] = skynet.PTYPE_SYSTEM }, function()
		skynet.register_protocol {
			name = "system",
			id = skynet.PTYPE_SYSTEM,
			unpack = function(...)
				return ...
			end,
		}
		skynet.dispatch("system", function(session, source, msg, sz)
			skynet.ignoreret()
			skynet.redirect(target, source, "lua", session, msg, sz)
		end)
	end)
	return
end

skynet.start(function()
	local listener, _, port = socket.listen("127.0.0.1", 0)
	socket.start(listener, function(client)
		socket.start(client)
		local text = socket.read(client)
		while text do
			socket.write(client, text)
			text = socket.read(client)
		end
		socket.close(client)
	end)
	skynet.dispatch("lua", function(session, _, cmd, ...)
		if cmd == "exit" then
			skynet.exit()
		elseif cmd == "sleep" then
			skynet.sleep(1)
		end
		if session ~= 0 then
			skynet.retpack(cmd == "port" and port or ...)
		end
	end)
end)
