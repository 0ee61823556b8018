--- The harbor slave's stand-in on a node without harbor mode: global names of one node.

local skynet = require "skynet"
require "skynet.manager"

local names = {} -- global name -> handle
local waiting = {} -- global name -> response closures
local command = {}
local harbor_service

skynet.register_protocol {
	name = "harbor",
	id = skynet.PTYPE_HARBOR,
	pack = function(...)
		return ...
	end,
	unpack = skynet.tostring,
}

skynet.register_protocol {
	name = "text",
	id = skynet.PTYPE_TEXT,
	pack = function(...)
		return ...
	end,
	unpack = skynet.tostring,
}

function command.REGISTER(name, handle)
	assert(names[name] == nil, "this global name is registered already")
	names[name] = handle
	skynet.ignoreret()
	local list = waiting[name]
	if list then
		waiting[name] = nil
		for _, response in ipairs(list) do
			response(true, handle)
		end
	end
	skynet.redirect(harbor_service, handle, "harbor", 0, "N " .. name)
end

function command.QUERYNAME(name)
	if name:byte() == 46 then -- "."
		skynet.retpack(skynet.localname(name))
		return
	end
	local handle = names[name]
	if handle then
		skynet.retpack(handle)
		return
	end
	local list = waiting[name]
	if list == nil then
		list = {}
		waiting[name] = list
	end
	list[#list + 1] = skynet.response()
end

function command.LINK()
	skynet.ret()
end

function command.CONNECT()
	skynet.ignoreret()
	skynet.error "Can't connect to other harbor in single node mode"
end

skynet.start(function()
	local harbor_id = assert(tonumber(skynet.getenv "harbor"))
	assert(harbor_id == 0)
	skynet.dispatch("lua", function(_, _, cmd, ...)
		local f = assert(command[cmd], "unknown command")
		f(...)
	end)
	skynet.dispatch("text", function() end)
	harbor_service = assert(skynet.launch("harbor", harbor_id, skynet.self()))
end)
