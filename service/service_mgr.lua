--- Unique services: who is started once per node, or once for all harbors.
--
-- A name's entry is its address, the text of its failed start, or, while it's being started, a
-- record of who started it and who waits.

local skynet = require "skynet"
local snax_name = "snaxd"

local services = {} -- key -> integer | string | record
local command = {}

local function record_of(key)
	local s = services[key]
	if s == nil then
		s = { waiting = {} }
		services[key] = s
	end
	return s
end

local function settle(key, value)
	local s = services[key]
	services[key] = value
	for _, w in ipairs(s.waiting) do
		skynet.wakeup(w.co)
	end
end

local function result_of(key)
	local s = services[key]
	if type(s) == "number" then
		return s
	end
	error(s, 0)
end

local function wait_for(key, source)
	local s = services[key]
	local co = coroutine.running()
	s.waiting[#s.waiting + 1] = { co = co, source = source }
	skynet.wait(co)
	return result_of(key)
end

-- Start `key` by func(...), unless somebody does or did.
local function start(source, key, func, ...)
	local s = record_of(key)
	if type(s) ~= "table" then
		return result_of(key)
	end
	if s.launcher then
		return wait_for(key, source)
	end
	s.launcher = { co = coroutine.running(), source = source }
	local ok, address = pcall(func, ...)
	settle(key, ok and address or tostring(address))
	return result_of(key)
end

local function query(source, key)
	local s = record_of(key)
	if type(s) ~= "table" then
		return result_of(key)
	end
	return wait_for(key, source)
end

-- "snaxd" takes the snax service's name as the next argument.
local function key_of(service, subname)
	if type(service) ~= "string" then
		error(("a unique service needs a name, got %s"):format(type(service)), 0)
	elseif service ~= snax_name then
		return service
	elseif type(subname) ~= "string" then
		error("snaxd needs the name of a snax service", 0)
	end
	return service .. "." .. subname
end

-- The service's name when a global one is asked for as "@name", as old nodes do.
local function global_name(service)
	return type(service) == "string" and service:match "^@(.+)"
end

local function launch_local(service, ...)
	local address = skynet.newservice(service, ...)
	return assert(address, "the service ended while it started")
end

local function launch_snax(_, subname, ...)
	return require "skynet.snax".rawnewservice(subname, ...)
end

function command.LAUNCH(source, service, subname, ...)
	local global = global_name(service)
	if global then
		return command.GLAUNCH(source, global, subname, ...)
	end
	local f = service == snax_name and launch_snax or launch_local
	return start(source, key_of(service, subname), f, service, subname, ...)
end

function command.QUERY(source, service, subname)
	local global = global_name(service)
	if global then
		return command.GQUERY(source, global, subname)
	end
	return query(source, key_of(service, subname))
end

-- What is being started, or asked for: who by, and where they are.
local function describe_pending(s)
	local lines = {}
	local function add(...)
		for _, line in ipairs { ... } do
			lines[#lines + 1] = line
		end
	end
	if s.launcher then
		local at = skynet.call(".launcher", "lua", "QUERY", skynet.task(s.launcher.co))
		if at then
			local ok, stack = pcall(skynet.call, at, "debug", "TASK", "init")
			add("Init as " .. skynet.address(at), ok and stack or "")
		end
		add("Launching from " .. skynet.address(s.launcher.source), debug.traceback(s.launcher.co))
	end
	if #s.waiting > 0 then
		add "Querying:"
		for _, w in ipairs(s.waiting) do
			add(skynet.address(w.source) .. " " .. debug.traceback(w.co))
		end
	end
	return table.concat(lines, "\n")
end

local function list_local()
	local result = {}
	for key, s in pairs(services) do
		if type(s) == "number" then
			result[key] = skynet.address(s)
		elseif type(s) == "string" then
			result[key] = "Error: " .. s
		else
			result[key] = describe_pending(s)
		end
	end
	return result
end

-- On the node that keeps the global names.
local function serve_global()
	local nodes = {}

	function command.GLAUNCH(source, service, subname, ...)
		local key = "@" .. key_of(service, subname)
		local f = service == snax_name and launch_snax or launch_local
		return start(source, key, f, service, subname, ...)
	end

	function command.GQUERY(source, service, subname)
		return query(source, "@" .. key_of(service, subname))
	end

	function command.REPORT(_, address)
		if math.type(address) ~= "integer" then
			error("REPORT needs an address", 0)
		end
		nodes[skynet.harbor(address)] = address
	end

	function command.LIST()
		local result = list_local()
		for id, address in pairs(nodes) do
			local ok, list = pcall(skynet.call, address, "lua", "LIST")
			if not ok then
				nodes[id] = nil -- it reports again when it's back
			end
			for key, text in pairs(ok and list or {}) do
				result[("%s@%d"):format(key, id)] = text
			end
		end
		return result
	end

	skynet.register "SERVICE"
end

-- On any other node of a harbor network: ask there, and remember an address until its node is
-- gone. Failures are remembered there.
local function serve_remote()
	local harbor = require "skynet.harbor"
	local watched = {}

	local function forget_with(id)
		watched[id] = true
		harbor.link(id)
		watched[id] = nil
		for key, s in pairs(services) do
			if key:sub(1, 1) == "@" and type(s) == "number" and skynet.harbor(s) == id then
				services[key] = nil
			end
		end
	end

	local function remember(key, address)
		services[key] = address
		local id, remote = skynet.harbor(address)
		if remote and not watched[id] then
			skynet.fork(forget_with, id)
		end
	end

	local function no_longer_waits(key, s, w)
		for i, other in ipairs(s.waiting) do
			if other == w then
				table.remove(s.waiting, i)
				break
			end
		end
		if #s.waiting == 0 and services[key] == s then
			services[key] = nil
		end
	end

	local function ask(cmd, source, service, subname, ...)
		local key = "@" .. key_of(service, subname)
		local s = record_of(key)
		if type(s) ~= "table" then
			return result_of(key)
		end
		local w = { co = coroutine.running(), source = source }
		s.waiting[#s.waiting + 1] = w
		local ok, address, err = pcall(skynet.call, "SERVICE", "lua", cmd, service, subname, ...)
		no_longer_waits(key, s, w)
		if not ok then
			error(address, 0)
		elseif not address then
			error(err, 0)
		end
		remember(key, address)
		return address
	end

	function command.GLAUNCH(...)
		return ask("GLAUNCH", ...)
	end

	function command.GQUERY(...)
		return ask("GQUERY", ...)
	end

	function command.LIST()
		return list_local()
	end

	skynet.call("SERVICE", "lua", "REPORT", skynet.self())
end

skynet.start(function()
	skynet.dispatch("lua", function(_, source, cmd, ...)
		local f = command[cmd]
		if f == nil then
			skynet.retpack(nil, "Invalid command " .. tostring(cmd))
			return
		end
		local ok, result = pcall(f, source, ...)
		if ok then
			skynet.retpack(result)
		else
			skynet.retpack(nil, result)
		end
	end)
	if skynet.localname ".service" then
		skynet.error ".service is already registered by another service"
		skynet.exit()
		return
	end
	require "skynet.manager"
	skynet.register ".service"
	if skynet.getenv "standalone" then
		serve_global()
	else
		serve_remote()
	end
end)
