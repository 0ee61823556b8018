--- The first Lua service: starts the node's own services and the configured start script, then
--- ends.

local skynet = require "skynet"
local service = require "skynet.service"
local core = require "skynet.core"
require "skynet.manager"

-- End the node, and have the process say so by its exit code.
local function give_up(...)
	skynet.error(...)
	core.command("ABORT", "1")
	skynet.exit()
end

local function start(name)
	local ok, address = pcall(skynet.newservice, name)
	return ok and address or nil
end

-- The harbor's stand-in, or master and slave. Returns false when the node can't go on.
local function start_harbor(harbor, standalone)
	if harbor == 0 then
		assert(standalone == nil, "standalone is for harbor mode; with harbor = 0 leave it out")
		skynet.setenv("standalone", "true")
		local dummy = start "cdummy"
		if dummy then
			skynet.name(".cslave", dummy)
		end
		return dummy
	end
	if standalone and not start "cmaster" then
		return false
	end
	local slave = start "cslave"
	if slave then
		skynet.name(".cslave", slave)
	end
	return slave
end

local function start_node()
	local launcher = assert(skynet.launch("snlua", "launcher"), "can't start the launcher")
	skynet.name(".launcher", launcher)

	local harbor = tonumber(skynet.getenv "harbor" or 0)
	if not start_harbor(harbor, skynet.getenv "standalone") then
		skynet.abort()
		return
	end
	if skynet.getenv "standalone" then
		skynet.name("DATACENTER", assert(start "datacenterd", "can't start datacenterd"))
	end
	assert(start "service_mgr", "can't start service_mgr")

	if skynet.getenv "enablessl" == "true" then
		service.new("ltls_holder", function()
			local c = require "ltls.init.c"
			c.constructor()
		end)
	end

	local script = skynet.getenv "start" or "main"
	local ok, err = pcall(skynet.newservice, script)
	if not ok then
		give_up(("the start service \"%s\" failed (%s): the node ends"):format(script, err))
	end
	skynet.exit()
end

skynet.start(function()
	local ok, err = xpcall(start_node, debug.traceback)
	if not ok then
		give_up("init service failed: " .. tostring(err))
	end
end)
