--- Drives the C service "capi" by orders on standard input: fields between tabs, the first being a
--- number that comes back with the answer. "launch PARM" starts another one, "signal N" signals,
--- "flood" sends many messages; the rest are capi's operations. Argument: capi's parameter.

local core = require "skynet.core"
local skynet = require "skynet"
local each_line = require "each_line"
require "skynet.manager"

skynet.register_protocol {
	name = "text",
	id = skynet.PTYPE_TEXT,
	pack = function(...) return table.concat({ ... }, "\0") .. "\0" end,
	unpack = skynet.tostring,
	dispatch = function() end,
}

skynet.register_protocol { name = "client", id = skynet.PTYPE_CLIENT, unpack = skynet.tostring,
	dispatch = function(_, source)
		skynet.error(("monitor: %x"):format(source))
	end }

local parameter = ...
local capi

local orders = {}

function orders.launch(parm)
	local handle = skynet.launch("capi", parm)
	return handle and ("%x"):format(handle) or "failed"
end

function orders.handle()
	return ("%x"):format(capi)
end

function orders.self()
	return ("%x"):format(skynet.self())
end

function orders.signal(n)
	core.command("SIGNAL", skynet.address(capi) .. " " .. n)
	return "signalled"
end

skynet.start(function()
	capi = assert(skynet.launch("capi", parameter))
	skynet.fork(each_line, function(line)
		local words = {}
		for word in (line .. "\t"):gmatch "(.-)\t" do
			words[#words + 1] = word
		end
		local tag, name = words[1], words[2]
		local result
		if orders[name] then
			result = orders[name](table.unpack(words, 3))
		else
			result = skynet.call(capi, "text", table.unpack(words, 2))
		end
		-- by way of the logger, so that lines of other services come before or behind
		skynet.error(("=%s [%s]"):format(tag, result))
	end)
	skynet.error "ready for orders"
end)
