--- The launcher: starts services on request, and knows which there are.
--
-- A request to launch is answered when the new service reports how its start went. Services
-- that report nothing for a while are named in the log, so that a script which forgot
-- skynet.start doesn't hang silently.

local skynet = require "skynet"
local core = require "skynet.core"
require "skynet.manager"
require "skynet.debug" -- so that it's in the code cache, as it was when the node started

local string = string

local services = {} -- handle -> launch text
local launched_as, launches = {}, 0 -- handle -> its number in the order of launches
local pending = {} -- handle -> response closure of who asked
local requests = {} -- handle -> { source, session, began =, named = } of that request
local slow_start = 3000 -- cs until a silent start is worth a word
local watching = false

local command = {}
local NORET = {}

local function address_of(handle)
	return (":%08x"):format(handle)
end

function command.LIST()
	local list = {}
	for handle, text in pairs(services) do
		list[address_of(handle)] = text
	end
	return list
end

-- Ask all services at once; what each answers (or "ERROR", "TIMEOUT") through `show`.
local function ask_all(timeout, show, ...)
	local req = skynet.request()
	local asked = {}
	for handle in pairs(services) do
		local r = { handle, "debug", ... }
		asked[handle] = true
		req:add(r)
	end
	local result = {}
	for r, resp in req:select(timeout) do
		local handle = r[1]
		asked[handle] = nil
		result[address_of(handle)] = show(handle, resp and resp[1] or "ERROR", resp)
	end
	for handle in pairs(asked) do
		result[address_of(handle)] = show(handle, "TIMEOUT")
	end
	return result
end

function command.STAT(_, timeout)
	return ask_all(timeout, function(_, value)
		return value
	end, "STAT")
end

function command.MEM(_, timeout)
	return ask_all(timeout, function(handle, value, ok)
		local text = services[handle] or ""
		if ok then
			return ("%.2f Kb (%s)"):format(value, text)
		end
		return ("%s (%s)"):format(value, text)
	end, "MEM")
end

function command.GC(_, timeout)
	for handle in pairs(services) do
		skynet.send(handle, "debug", "GC")
	end
	return command.MEM(_, timeout)
end

local function forget(handle)
	services[handle] = nil
	requests[handle] = nil
	launched_as[handle] = nil
end

function command.KILL(_, handle)
	skynet.kill(handle)
	local ret = { [address_of(handle)] = tostring(services[handle]) }
	forget(handle)
	return ret
end

function command.REMOVE(_, handle, kill)
	forget(handle)
	local response = pending[handle]
	if response then
		pending[handle] = nil
		-- killed: an error; it ended by itself: no address
		response(not kill)
	end
	return NORET
end

-- A Lua service may take its time; a word in the log tells what a caller waits for. One timer
-- serves all launches: it's set while some are pending, for the oldest that wasn't named yet.
local function name_slow_starts()
	local now, soonest = skynet.now(), nil
	for handle in pairs(pending) do
		local request = requests[handle]
		local left = request and not request.named and request.began + slow_start - now
		if left and left <= 0 then
			request.named = true
			skynet.error(("%s %s has not finished its start after %d seconds"):format(
				address_of(handle), services[handle], slow_start // 100))
		elseif left then
			soonest = math.min(soonest or left, left)
		end
	end
	watching = soonest ~= nil
	if watching then
		skynet.timeout(soonest, name_slow_starts)
	end
end

local function watch_start()
	if not watching then
		watching = true
		skynet.timeout(slow_start, name_slow_starts)
	end
end

local function launch(module, ...)
	local param = table.concat({ ... }, " ")
	local text = module .. " " .. param
	local session, source = skynet.context()
	local response = skynet.response()
	local handle = skynet.launch(module, param)
	if not handle then
		skynet.error(("can't launch %s: see stderr for the reason"):format(text))
		response(false)
		return
	end
	services[handle] = text
	launches = launches + 1
	launched_as[handle] = launches
	pending[handle] = response
	requests[handle] = { source, session, began = skynet.now() }
	watch_start()
	return handle
end

function command.LAUNCH(_, service, ...)
	launch(service, ...)
	return NORET
end

function command.LOGLAUNCH(_, service, ...)
	local handle = launch(service, ...)
	if handle then
		core.command("LOGON", address_of(handle))
	end
	return NORET
end

function command.ERROR(address)
	local response = pending[address]
	if response then
		skynet.error(("start of %s %s failed: its own log lines say why"):format(
			address_of(address), services[address]))
		response(false)
		pending[address] = nil
	end
	forget(address)
	return NORET
end

function command.LAUNCHOK(address)
	local response = pending[address]
	if response then
		response(true, address)
		pending[address] = nil
		requests[address] = nil
	end
	return NORET
end

-- Sessions are numbers of who asks: its own requests first, others may have the same number.
function command.QUERY(source, request_session)
	local any
	for address, request in pairs(requests) do
		if request[2] == request_session then
			if request[1] == source then
				return address
			end
			any = address
		end
	end
	return any
end

-- The node was asked to end: give each service its chance, the youngest first.
local function shutdown()
	local limit = (tonumber(skynet.getenv "shutdown_timeout") or 5) * 100
	local deadline = skynet.now() + limit
	skynet.error("the node was asked to end")
	local order = {}
	for handle in pairs(launched_as) do
		order[#order + 1] = handle
	end
	table.sort(order, function(a, b)
		return launched_as[a] > launched_as[b]
	end)
	for _, handle in ipairs(order) do
		local left = deadline - skynet.now()
		if left <= 0 then
			break
		end
		if services[handle] and services[handle]:find "^snlua" and not pending[handle] then
			local ended -- answered, or failed: both are fine
			for _ in skynet.request { handle, "debug", "SHUTDOWN" }:select(left) do
				ended = true
			end
			if not ended then
				skynet.error(("%s %s took too long to end"):format(address_of(handle),
					services[handle] or ""))
			end
		end
	end
	skynet.abort()
end

-- C services, and the kernel, talk text.
skynet.register_protocol {
	name = "text",
	id = skynet.PTYPE_TEXT,
	unpack = skynet.tostring,
	dispatch = function(_, address, cmd)
		if cmd == nil or cmd == "" then
			command.LAUNCHOK(address)
		elseif cmd == "ERROR" then
			command.ERROR(address)
		elseif cmd == "SHUTDOWN" and address == 0 then
			shutdown()
		else
			error("Invalid text command " .. cmd)
		end
	end,
}

skynet.dispatch("lua", function(_, address, cmd, ...)
	cmd = string.upper(cmd)
	local f = command[cmd]
	if not f then
		skynet.ret(skynet.pack { "Unknown command" })
		return
	end
	local ret = f(address, ...)
	if ret ~= NORET then
		skynet.ret(skynet.pack(ret))
	else
		skynet.ignoreret()
	end
end)

skynet.start(function() end)
