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
	if service == snax_name then
		return service .. "." .. subname
	end
	return service
end

local function launch_local(service, ...)
	local address = skynet.newservice(service, ...)
	return assert(address, "the service ended while it started")
end

local function launch_snax(_, subname, ...)
	return require "skynet.snax".rawnewservice(subname, ...)
end

function command.LAUNCH(source, service, subname, ...)
	local f = service == snax_name and launch_snax or launch_local
	return start(source, key_of(service, subname), f, service, subname, ...)
end

function command.QUERY(source, service, subname)
	return query(source, key_of(service, subname))
end

local function list_local()
	local result = {}
	for key, s in pairs(services) do
		local text
		if type(s) == "number" then
			text = skynet.address(s)
		elseif type(s) == "string" then
			text = "Error: " .. s
		else
			local lines = {}
			if s.launcher then
				local at = skynet.call(".launcher", "lua", "QUERY", skynet.task(s.launcher.co))
				if at then
					lines[#lines + 1] = "Init as " .. skynet.address(at)
					lines[#lines + 1] = skynet.call(at, "debug", "TASK", "init") or ""
				end
				lines[#lines + 1] = "Launching from " .. skynet.address(s.launcher.source)
				lines[#lines + 1] = debug.traceback(s.launcher.co)
			end
			if #s.waiting > 0 then
				lines[#lines + 1] = "Querying:"
				for _, w in ipairs(s.waiting) do
					lines[#lines + 1] = skynet.address(w.source) .. " " .. debug.traceback(w.co)
				end
			end
			text = table.concat(lines, "\n")
		end
		result[key] = text
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
		nodes[address] = true
	end

	function command.LIST()
		local result = list_local()
		for address in pairs(nodes) do
			local id = skynet.harbor(address)
			local ok, list = pcall(skynet.call, address, "lua", "LIST")
			for key, text in pairs(ok and list or {}) do
				result[("%s@%d"):format(key, id)] = text
			end
		end
		return result
	end

	skynet.register "SERVICE"
end

-- On any other node of a harbor network: ask there, and remember the answer.
local function serve_remote()
	local function ask(source, cmd, service, subname, ...)
		return start(source, "@" .. key_of(service, subname), function(...)
			return assert(skynet.call("SERVICE", "lua", ...))
		end, cmd, service, subname, ...)
	end

	function command.GLAUNCH(source, ...)
		return ask(source, "LAUNCH", ...)
	end

	function command.GQUERY(source, ...)
		return ask(source, "QUERY", ...)
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
