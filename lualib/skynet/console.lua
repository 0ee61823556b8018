--- The commands of the debug console: what the words of a line do.
--
-- `COMMAND[name](word, ...)` returns what is shown; it raises what is shown as an error.
-- `COMMANDX[name](request)` gets the whole line and may print by itself; a request has the fields
-- line, words, print and, unless it came by HTTP, connection (see service/debug_console.lua).
-- Both tables may be extended while the console runs.

local codecache = require "skynet.codecache"
local core = require "skynet.core"
local log = require "skynet.log"
local memory = require "skynet.memory"
local runtime = require "skynet.runtime"
local skynet = require "skynet"
local socket = require "skynet.socket"
require "skynet.manager"

local TIMEOUT = 300 -- cs: for what is asked of all services
local WAITS_MAX = 200 -- lines

local COMMAND = {}
local COMMANDX = {}

-- Address argument: ".name", ":hex", or hex digits of this node's services.
local function address(text)
	assert(text, "Need an address")
	local first = text:sub(1, 1)
	if first == "." then
		return assert(skynet.localname(text), "Not a valid name")
	elseif first == ":" then
		return assert(tonumber(text:sub(2), 16), "Need an address")
	end
	local n = assert(tonumber(text, 16), "Need an address")
	return n | skynet.harbor(skynet.self()) << 24
end

local function limit(text)
	local ti = text and assert(tonumber(text), "Need a time-out in centiseconds") or TIMEOUT
	return ti > 0 and math.floor(ti) or nil
end

local function launcher(cmd, ...)
	return skynet.call(".launcher", "lua", cmd, ...)
end

local function launched(ok, addr, name)
	if not ok then
		return "Failed"
	elseif addr then
		return { [skynet.address(addr)] = name }
	end
	return "Exit"
end

function COMMAND.help()
	return {
		help = "This help message",
		list = "List all the service",
		stat = "Dump all stats [timeout cs]",
		info = "info address : get service infomation",
		exit = "exit address : let a service exit",
		kill = "kill address : kill a service",
		mem = "mem : show memory status [timeout cs]",
		gc = "gc : collect all services, then mem",
		start = "start name args : launch a lua service",
		snax = "snax name args : launch a snax service",
		clearcache = "clear lua code cache",
		service = "List unique services",
		task = "task address [session] : show coroutines and where they wait",
		uniqtask = "uniqtask address : the same, equal ones merged",
		inject = "inject address file args : run a script inside a service",
		logon = "logon address : log a service's messages to a file",
		logoff = "logoff address : stop that",
		log = "log name args : launch a service with its messages logged; log LEVEL : set log level",
		debug = "debug address : debug a lua service",
		signal = "signal address [n] : 0 breaks an endless loop, 1 logs memory",
		cmem = "Show C memory of services",
		jmem = "Show jemalloc's totals",
		ping = "ping address : round trip in cs",
		call = "call address ... : call a service with lua values",
		trace = "trace address [proto] [on|off] : trace requests",
		netstat = "Show all sockets",
		profactive = "profactive [on|off] : jemalloc heap profiling",
		dumpheap = "Dump the heap profile",
		killtask = "killtask address thread : kill a coroutine",
		dbgcmd = "dbgcmd address cmd args : any debug command",
		getenv = "getenv name : show a configuration key",
		setenv = "setenv name value : set a configuration key",
		threads = "threads : what each worker thread does, and for how long",
		waits = "waits : who waits for whom, since when; deadlocks are named",
	}
end
function COMMAND.clearcache()
	codecache.clear()
end

function COMMAND.list()
	return launcher "LIST"
end

function COMMAND.stat(ti)
	return launcher("STAT", limit(ti))
end

function COMMAND.mem(ti)
	return launcher("MEM", limit(ti))
end

function COMMAND.gc(ti)
	return launcher("GC", limit(ti))
end

function COMMAND.service()
	return skynet.call("SERVICE", "lua", "LIST")
end

function COMMAND.start(...)
	local ok, addr = pcall(skynet.newservice, ...)
	return launched(ok, addr, (...))
end

-- Is there a script of this name? Then it's meant, although a log level is called so, too.
local function is_service(name)
	local path = skynet.getenv "luaservice" or "./service/?.lua"
	return package.searchpath(name, path, "", "") ~= nil
end

function COMMAND.log(name, ...)
	local level = name and select("#", ...) == 0 and log.levels[name:lower()]
	if name == nil or (level and not is_service(name)) then
		return log.level(name and name:lower())
	end
	local ok, addr = pcall(launcher, "LOGLAUNCH", "snlua", name, ...)
	return launched(ok and addr, addr, name)
end

function COMMAND.snax(...)
	local ok, obj = pcall(function(...)
		return require "skynet.snax".newservice(...)
	end, ...)
	return launched(ok, ok and obj.handle, (...))
end

function COMMAND.exit(addr)
	skynet.send(address(addr), "debug", "EXIT")
end

function COMMAND.kill(addr)
	return launcher("KILL", address(addr))
end

function COMMAND.info(addr, ...)
	return skynet.call(address(addr), "debug", "INFO", ...)
end

function COMMAND.task(addr, session)
	return skynet.call(address(addr), "debug", "TASK", session)
end

function COMMAND.uniqtask(addr)
	return skynet.call(address(addr), "debug", "UNIQTASK")
end

function COMMAND.killtask(addr, thread)
	return skynet.call(address(addr), "debug", "KILLTASK", thread)
end

function COMMAND.dbgcmd(addr, cmd, ...)
	return skynet.call(address(addr), "debug", cmd, ...)
end

function COMMAND.inject(addr, filename, ...)
	local target = address(addr)
	local f = io.open(assert(filename, "Need a file"), "rb")
	if not f then
		return "Can't open " .. filename
	end
	local source = f:read "a"
	f:close()
	local ok, output = skynet.call(target, "debug", "RUN", source, filename, ...)
	if not ok then
		error(output, 0)
	end
	return output
end

function COMMAND.ping(addr)
	local target = address(addr)
	local since = skynet.now()
	skynet.call(target, "debug", "PING")
	return tostring(skynet.now() - since)
end

local switch = { on = true, ["true"] = true, off = false, ["false"] = false }

function COMMAND.trace(addr, proto, flag)
	if flag == nil and switch[proto] ~= nil then
		proto, flag = "lua", proto
	end
	skynet.call(address(addr), "debug", "TRACELOG", proto or "lua", switch[flag])
end

function COMMAND.signal(addr, n)
	local target = skynet.address(address(addr))
	n = n and assert(math.tointeger(n), "Need a number")
	core.command("SIGNAL", n and ("%s %d"):format(target, n) or target)
end

function COMMAND.logon(addr)
	core.command("LOGON", skynet.address(address(addr)))
end

function COMMAND.logoff(addr)
	core.command("LOGOFF", skynet.address(address(addr)))
end

function COMMAND.cmem()
	local all = {}
	for handle, bytes in pairs(memory.info()) do
		all[skynet.address(handle)] = bytes
	end
	all.total = memory.total()
	all.block = memory.block()
	return all
end

function COMMAND.jmem()
	local all = {}
	for name, bytes in pairs(memory.jestat()) do
		all[name] = ("%11d  %8.2f Mb"):format(bytes, bytes / 1048576)
	end
	return all
end

function COMMAND.dumpheap()
	memory.dumpheap()
end

function COMMAND.profactive(flag)
	if flag then
		memory.profactive(switch[flag] == true)
	end
	return "heap profilling is " .. (memory.profactive() and "active" or "deactive")
end

function COMMAND.getenv(name)
	local value = skynet.getenv(assert(name, "Need a key"))
	return { [name] = tostring(value) }
end

function COMMAND.setenv(name, value)
	skynet.setenv(assert(name, "Need a key"), assert(value, "Need a value"))
end

local function size_text(n)
	if n < 1024 then
		return tostring(n)
	elseif n < 1048576 then
		return n / 1024 .. "K"
	end
	return n / 1048576 .. "M"
end

local function age_text(cs)
	local s = (skynet.now() - cs) / 100
	if s < 60 then
		return s .. "s"
	end
	s = math.floor(s)
	local m = s // 60
	if m < 60 then
		return ("%d:%02d"):format(m, s % 60)
	end
	return ("%d:%02d:%02d"):format(m // 60, m % 60, s % 60)
end

local sizes = { read = true, write = true, wbuffer = true, accept = false }
local times = { rtime = true, wtime = true }

function COMMAND.netstat()
	local all = socket.netstat()
	for _, info in ipairs(all) do
		for name, value in pairs(info) do
			if sizes[name] then
				info[name] = value > 0 and size_text(value) or nil
			elseif times[name] then
				info[name] = value > 0 and age_text(value) or nil
			elseif value == false then
				info[name] = nil
			end
		end
		info.address = skynet.address(info.address)
	end
	return all
end

-- Arguments are Lua expressions, in an empty environment.
function COMMANDX.call(req)
	local rest = req.line:match "^%s*call%s+%S+%s+(.+)$"
	local target = address(req.words[2])
	assert(rest, "need arguments")
	local f = assert(load("return " .. rest, "=(args)", "t", {}), "Invalid arguments")
	local args = table.pack(f())
	local ret = table.pack(skynet.call(target, "lua", table.unpack(args, 1, args.n)))
	return ret
end

---------------------------------------------------------------------------------------------
-- The state of the node

local type_names = {}
for name, id in pairs(skynet) do
	if type(name) == "string" and name:find "^PTYPE_" then
		type_names[id] = name:sub(7):lower()
	end
end

-- Launch texts of services, as far as the launcher tells in time.
local function launch_texts()
	local texts = {}
	for _, resp in skynet.request { ".launcher", "lua", "LIST" }:select(TIMEOUT) do
		texts = resp and resp[1] or texts
	end
	return texts
end

function COMMANDX.threads(req)
	local threads = runtime.threads() -- before anything else is asked
	local texts = launch_texts()
	for i, t in ipairs(threads) do
		if t.destination then
			local at = skynet.address(t.destination)
			req.print(i - 1, at, ("source:%s"):format(skynet.address(t.source)),
				("type:%s"):format(type_names[t.type] or t.type),
				("for:%.3fs"):format(t.seconds), texts[at])
		else
			req.print(i - 1, "idle")
		end
	end
end

function COMMANDX.waits(req)
	local waits = require "skynet.waits"
	local services = {}
	for addr, text in pairs(launch_texts()) do
		if text:find "^snlua" then
			services[#services + 1] = tonumber(addr:sub(2), 16)
		end
	end
	local all = waits.collect(services, TIMEOUT)
	for _, line in ipairs(waits.report(all, WAITS_MAX)) do
		req.print(line)
	end
end

---------------------------------------------------------------------------------------------
-- The debugger

-- The connection's lines go to the debugger until it's left.
function COMMANDX.debug(req)
	local target = address(req.words[2])
	local connection = assert(req.connection, "debug needs a connection of its own")
	local agent = skynet.newservice "debug_agent"
	skynet.fork(function() -- once the agent was told to start: what was typed meanwhile
		connection.debugger = agent
		for _, line in ipairs(connection.typed) do
			skynet.send(agent, "lua", "cmd", line)
		end
	end)
	local ok, attached = pcall(skynet.call, agent, "lua", "start", target, connection.id)
	connection.debugger = nil
	assert(ok and attached, "can't attach: is it a Lua service, and not debugged already?")
end

return {
	COMMAND = COMMAND,
	COMMANDX = COMMANDX,
}
