--- The debug console: a line-based command interface on a TCP port, loopback by default.
--
-- A line that begins with GET or POST is an HTTP request: its path (or body) is the command. To
-- keep web pages from using that, requests that a browser sends for another site are refused.
-- Lines are limited in length.

local codecache = require "skynet.codecache"
local core = require "skynet.core"
local memory = require "skynet.memory"
local skynet = require "skynet"
local socket = require "skynet.socket"
require "skynet.manager"

local LINE_MAX = 8192 -- bytes
local TIMEOUT = 300 -- cs: for statistics of all services

local arg = table.pack(...)
assert(arg.n <= 2, "debug_console [ip] port")
local ip = arg.n == 2 and arg[1] or "127.0.0.1"
local port = tonumber(arg[arg.n])

local COMMAND = {} -- f(words...): words as typed
local COMMANDX = {} -- f(line): get the line, and answer through `print`

---------------------------------------------------------------------------------------------
-- Output

local function sorted_keys(t)
	local keys = {}
	for k in pairs(t) do
		keys[#keys + 1] = k
	end
	table.sort(keys, function(a, b)
		return tostring(a) < tostring(b)
	end)
	return keys
end

local function inner_table(t)
	local items = {}
	for _, k in ipairs(sorted_keys(t)) do
		items[#items + 1] = ("%s:%s"):format(k, t[k])
	end
	return table.concat(items, "\t")
end

local function show_result(print, result)
	if type(result) == "table" then
		for _, k in ipairs(sorted_keys(result)) do
			local v = result[k]
			print(("%s\t%s"):format(k, type(v) == "table" and inner_table(v) or tostring(v)))
		end
	elseif result ~= nil and result ~= false then
		print(tostring(result))
	end
	print "<CMD OK>"
end

local function printer(id)
	return function(...)
		local values = table.pack(...)
		for i = 1, values.n do
			values[i] = tostring(values[i])
		end
		socket.write(id, table.concat(values, "\t") .. "\n")
	end
end

---------------------------------------------------------------------------------------------
-- Running a line

local function split(line)
	local words = {}
	for word in line:gmatch "%S+" do
		words[#words + 1] = word
	end
	return words
end

local function run(line, print, fd)
	local words = split(line)
	local name = words[1]
	local f = COMMAND[name]
	local ok, result
	if f then
		ok, result = pcall(f, table.unpack(words, 2))
	elseif COMMANDX[name] then
		ok, result = pcall(COMMANDX[name], { line = line, words = words, print = print, fd = fd })
	else
		print "Invalid command, type help for command list\n"
		print "<CMD Error>"
		return
	end
	if ok then
		show_result(print, result)
	else
		print(result)
		print "<CMD Error>"
	end
end

-- Read a line, at most LINE_MAX bytes of it.
local function read_line(id)
	local line = socket.readline(id, "\n")
	if line and #line > LINE_MAX then
		skynet.error(("debug console: a line of %d bytes is refused"):format(#line))
		return nil
	end
	return line
end

-- Headers of an HTTP request; nil when there are too many, or the connection ended.
local function read_headers(id)
	local headers = {}
	for _ = 1, 100 do
		local line = read_line(id)
		if not line then
			return nil
		end
		line = line:gsub("\r$", "")
		if line == "" then
			return headers
		end
		local name, value = line:match "^([^:]+):%s*(.*)$"
		if name then
			headers[name:lower()] = value
		end
	end
end

-- Would a browser send this on behalf of another site? Then it says where that comes from.
local function cross_site(headers)
	local host = (headers.host or ""):gsub(":%d+$", "")
	local allowed = host == "" or host == "localhost" or host == ip or host:match "^127%."
		or host == "[::1]"
	return not allowed or headers.origin ~= nil or headers.referer ~= nil
		or (headers["sec-fetch-site"] or "none") ~= "none"
end

local function http_command(id, line)
	local method, path = line:match "^(%u+) (%S+)"
	local headers = read_headers(id)
	if not headers then
		return nil
	end
	if cross_site(headers) then
		skynet.error "debug console: a request from another site is refused"
		return nil
	end
	if method == "POST" then
		local length = tonumber(headers["content-length"]) or 0
		return length <= LINE_MAX and socket.read(id, length) or nil
	end
	return (path:sub(2):gsub("/", " "))
end

local function serve(id, from)
	local print = printer(id)
	socket.start(id)
	socket.limit(id, LINE_MAX * 2)
	skynet.error(from .. " connected")
	socket.write(id, "Welcome to skynet console\n")
	while true do
		local line = read_line(id)
		if not line then
			break
		end
		if line:find "^GET " or line:find "^POST " then
			local cmd = http_command(id, line)
			if cmd then
				run(cmd, print, id)
			end
			break
		elseif line ~= "" then
			run(line, print, id)
		end
	end
	skynet.error(from .. " disconnect")
	socket.close(id)
end

local listen_id
local function accept(id, from)
	-- tools that patch the console look for the table among these upvalues
	local _ = COMMAND
	skynet.fork(function()
		local ok, err = pcall(serve, id, from)
		if not ok then
			skynet.error(err)
			socket.close(id)
		end
	end)
end

skynet.start(function()
	local id, _, bound = socket.listen(ip, port)
	listen_id = id
	skynet.error(("Start debug console at %s:%d"):format(ip, bound))
	socket.start(listen_id, accept)
	skynet.info_func(function()
		return { ip = ip, port = bound }
	end)
end)

---------------------------------------------------------------------------------------------
-- Commands

local function address(text)
	assert(text, "Need an address")
	local first = text:sub(1, 1)
	if first == "." then
		return assert(skynet.localname(text), "Not a valid name")
	elseif first == ":" then
		return text
	end
	local n = assert(tonumber("0x" .. text), "Need an address")
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
		task = "task address : show coroutines and what they wait for",
		uniqtask = "uniqtask address : the same, equal ones merged",
		inject = "inject address file args : run a script inside a service",
		logon = "logon address : log a service's messages to a file",
		logoff = "logoff address : stop that",
		log = "log name args : launch a service with its messages logged",
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
		waits = "waits : who waits for whom; cycles are named",
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

function COMMAND.log(...)
	local ok, addr = pcall(launcher, "LOGLAUNCH", "snlua", ...)
	return launched(ok and addr, addr, (...))
end

function COMMAND.snax(...)
	local snax = require "skynet.snax"
	local ok, obj = pcall(snax.newservice, ...)
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

function COMMAND.task(addr)
	return skynet.call(address(addr), "debug", "TASK")
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
	core.command("SIGNAL", n and ("%s %d"):format(target, tonumber(n)) or target)
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
	return "heap profiling is " .. (memory.profactive() and "active" or "deactive")
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

-- The debugger takes the connection's lines until it's left.
function COMMANDX.debug(req)
	local target = address(req.words[2])
	local agent = skynet.newservice "debug_agent"
	local over = false
	skynet.fork(function()
		while not over do
			local line = socket.readline(req.fd, "\n")
			if not line then
				line = "cont"
			end
			skynet.send(agent, "lua", "cmd", (line:gsub("\r$", "")))
			if line == "cont" then
				return
			end
		end
	end)
	skynet.call(agent, "lua", "start", target, req.fd)
	over = true
end

---------------------------------------------------------------------------------------------
-- waits: who waits for whom

-- Calls in flight of every service: { from, to, session, where }.
local function calls_in_flight()
	local calls = {}
	local req = skynet.request()
	for addr, text in pairs(launcher "LIST") do
		if text:find "^snlua" then
			req:add { tonumber("0x" .. addr:sub(2)), "debug", "WAITS" }
		end
	end
	for r, resp in req:select(TIMEOUT) do
		for _, w in ipairs(resp and resp[1] or {}) do
			w.from = r[1]
			calls[#calls + 1] = w
		end
	end
	return calls
end

-- A cycle in "waits for", as a list of addresses; nil when there's none.
local function find_cycle(edges)
	local state, path = {}, {}
	local function visit(node)
		state[node] = "open"
		path[#path + 1] = node
		for to in pairs(edges[node] or {}) do
			if state[to] == "open" then
				local cycle = {}
				for i = #path, 1, -1 do
					table.insert(cycle, 1, skynet.address(path[i]))
					if path[i] == to then
						return cycle
					end
				end
			elseif not state[to] then
				local cycle = visit(to)
				if cycle then
					return cycle
				end
			end
		end
		path[#path] = nil
		state[node] = "done"
	end
	for node in pairs(edges) do
		if not state[node] then
			local cycle = visit(node)
			if cycle then
				return cycle
			end
		end
	end
end

function COMMAND.waits()
	local result, edges = {}, {}
	for _, w in ipairs(calls_in_flight()) do
		edges[w.from] = edges[w.from] or {}
		edges[w.from][w.to] = true
		local key = ("%s -> %s session %d"):format(skynet.address(w.from), skynet.address(w.to),
			w.session)
		result[key] = w.where
	end
	local cycle = find_cycle(edges)
	if cycle then
		cycle[#cycle + 1] = cycle[1]
		result["DEADLOCK"] = table.concat(cycle, " -> ")
	end
	return result
end
