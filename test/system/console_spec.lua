-- The debug console of a real node, over TCP: every command, and what must not harm it.

local kit = require "testkit"
local console = require "console"
local node = require "node"

local logs = node.file "logs"

local function start(options)
	options = options or {}
	options.start = options.start or "debugged"
	options.logpath = logs
	local n = node.start(options)
	n:expect "\nready"
	n.port = tonumber((n:expect "Start debug console at 127%.0%.0%.1:(%d+)"))
	n.echo = n:expect "address echo%s+(:%x+)"
	n.self = n:expect "address self%s+(:%x+)"
	return n
end

-- Lines of a text as a set of keys (up to the first tab) -> rest of the line.
local function lines_of(text)
	local t = {}
	for line in text:gmatch "[^\n]+" do
		local key, value = line:match "^([^\t]*)\t?(.*)$"
		t[key] = value
	end
	return t
end

describe("the debug console", function()
	local n, con

	setup(function()
		os.execute("mkdir -p " .. logs)
		n = start()
		con = console.connect(n.port)
		assert.equal("Welcome to skynet console\n", (con:expect "\n"))
	end)

	teardown(function()
		con:close()
		n:kill()
	end)

	local function run(line, closing)
		local text, how = con:run(line)
		assert.equal(closing or "OK", how, text)
		return text
	end

	it("helps with one line for each command", function()
		local help = lines_of(run "help")
		for _, name in ipairs { "help", "list", "stat", "mem", "gc", "service", "start", "log",
			"snax", "exit", "kill", "info", "task", "uniqtask", "killtask", "inject", "dbgcmd",
			"call", "ping", "trace", "signal", "logon", "logoff", "debug", "cmem", "jmem",
			"dumpheap", "profactive", "netstat", "getenv", "setenv", "clearcache", "threads",
			"waits" } do
			assert.truthy(help[name] and #help[name] > 0, name)
		end
	end)

	it("lists services", function()
		local list = lines_of(run "list")
		assert.equal("snlua echo", list[n.echo])
		assert.is_nil(list[":00000001"])
	end)

	it("shows statistics, memory, garbage", function()
		for line in run("stat"):gmatch "[^\n]+" do
			assert.truthy(line:find "^:%x+\tcpu:[%d.e-]+\tmessage:%d+\tmqlen:%d+\ttask:%d+$", line)
		end
		assert.truthy(lines_of(run "mem 500")[n.echo]:find "^%d+%.%d%d Kb %(snlua echo%)$")
		assert.truthy(lines_of(run "gc")[n.echo]:find "^%d+%.%d%d Kb %(snlua echo%)$")
		assert.truthy(run("mem x", "Error"):find "time%-out")
	end)

	it("lists unique services", function()
		assert.equal("table", type(lines_of(run "service")))
	end)

	it("starts and ends services", function()
		local addr = run("start echo"):match "^(:%x+)\techo\n$"
		assert.truthy(addr)
		assert.equal("Failed\n", run "start there_is_no_such_service")
		assert.equal("", run("exit " .. addr))
		addr = run("start echo"):match "^:(%x+)"
		assert.equal((":%s\tsnlua echo\n"):format(addr), run("kill :" .. addr))
		addr = run("start echo"):match "^:(%x+)"
		assert.equal((":%s\tsnlua echo\n"):format(addr), run("kill " .. addr:gsub("^0+", "")))
		assert.equal("Failed\n", run "snax there_is_no_such_service")
		assert.equal(":0000fff0\tnil\n", run "kill fff0")
	end)

	it("launches with a message log, and switches it on and off", function()
		local addr = run("log echo"):match "^:(%x+)\techo\n$"
		run("call " .. addr .. ' "echo", 5')
		run("logoff " .. addr)
		local text = io.open(logs .. "/" .. addr .. ".log"):read "a"
		assert.truthy(text:find "^open time: %d+ %a+ .-\n")
		assert.truthy(text:find "\n:%x+ 10 %d+ %d+ 246563686f0a05\n")
		assert.truthy(text:find "\nclose time: %d+\n$")
		run("logon " .. n.echo)
		run("logoff " .. n.echo)
		assert.truthy(io.open(logs .. "/" .. n.echo:sub(2) .. ".log"))
		assert.equal("Failed\n", run "log there_is_no_such_service")
	end)

	it("shows a service's info, nested tables on one line", function()
		assert.equal("arguments\tx,y\nnested\ta:1\tb:2\n", run("info " .. n.self .. " x y"))
		assert.equal("", run("info " .. n.echo))
	end)

	it("shows tasks, one of them, equal ones merged; and kills one", function()
		run("call " .. n.echo .. ' "keep_nothing_waiting"', "Error")
		local other = console.connect(n.port)
		other:send("call " .. n.echo .. ' "hang"\n')
		local thread, session
		node.eventually(function()
			thread, session = run("task " .. n.echo):match "thread: (0x%x+) session: (%d+)\tstack"
			return thread
		end)
		assert.truthy(run(("task %s %s"):format(n.echo, session)):find "^stack traceback:\n.*echo.lua")
		assert.equal("No session\n", run("task " .. n.echo .. " 99999"))
		assert.truthy(run("dbgcmd " .. n.echo .. " TASK " .. session):find "^stack traceback:")
		assert.truthy(run("uniqtask " .. n.echo):find "^1\tsessions:%[%d+%]\n\tstack traceback:")
		assert.equal("Not found\n", run("killtask " .. n.echo .. " 0xfffffff"))
		assert.equal("", run("killtask " .. n.echo .. " " .. thread))
		other:expect "call failed\n<CMD Error>\n"
		other:close()
	end)

	it("injects code", function()
		local path = node.file("inject.lua", "print(..., _P.lua.command.echo ~= nil)\nprint(nil, 2)")
		assert.equal("a\ttrue\nnil\t2\n", run("inject " .. n.echo .. " " .. path .. " a"))
		assert.equal("\n", run("inject " .. n.echo .. " " .. node.file("inject.lua", "local a")))
		path = node.file("inject.lua", "print 'first'\nerror 'on purpose'")
		assert.truthy(run("inject " .. n.echo .. " " .. path, "Error"):find "^first\n.*:2: on purpose")
		assert.equal("Can't open /no/file\n", run("inject " .. n.echo .. " /no/file"))
	end)

	it("sends debug commands whose results are of any type", function()
		assert.truthy(run("dbgcmd " .. n.echo .. " MEM"):find "^%d+%.%d+\n$")
		assert.equal("true\n", run("dbgcmd " .. n.echo .. " SUPPORT lua"))
		assert.equal("", run("dbgcmd " .. n.echo .. " SUPPORT nothing"))
		assert.truthy(run("dbgcmd " .. n.echo .. " NOSUCH", "Error"):find "call failed")
	end)

	it("calls services", function()
		assert.equal("1\t1\n2\tx\nn\t2\n", run("call " .. n.echo .. ' "echo", 1, "x"'))
		assert.equal("1\ta:1\tb:2\nn\t1\n", run('call .echo "echo", {a=1, b=2}'))
		assert.truthy(run("call " .. n.echo, "Error"):find "need arguments")
		assert.truthy(run("call " .. n.echo .. " )", "Error"):find "Invalid arguments")
		assert.truthy(run("call " .. n.echo .. ' print("x")', "Error"):find "nil value")
	end)

	it("takes addresses in all forms, and says what is wrong with others", function()
		for _, a in ipairs { n.echo, n.echo:gsub("^:0*", ""), ".echo", n.echo:upper() } do
			assert.truthy(run("ping " .. a):find "^%d+\n$")
		end
		assert.truthy(run("ping .nobody", "Error"):find "Not a valid name")
		for _, a in ipairs { "ping", "ping zz", "ping :zz", "task", "kill", "info", "signal",
			"logon", "call", "debug", "inject", "trace", "exit", "uniqtask" } do
			assert.truthy(run(a, "Error"):find "Need an address", a)
		end
		assert.truthy(run("ping ffff", "Error"):find "call to invalid address :0000ffff")
	end)

	it("traces requests", function()
		run("trace " .. n.self .. " lua on")
		n.text = ""
		run("call " .. n.self .. (' "ask", ".echo", "lua", "echo", 1'))
		n:expect("%[" .. n.self .. "%] <TRACE " .. n.self .. "%-%d+> %d+ request\n")
		n:expect("%[" .. n.self .. "%] <TRACE " .. n.self
			.. "%-%d+> %d+ call : @./test/services/debugged.lua:%d+\n")
		n:expect("%[" .. n.echo .. "%] <TRACE " .. n.self .. "%-%d+> %d+ request\n")
		n:expect("%[" .. n.echo .. "%] <TRACE " .. n.self .. "%-%d+> %d+ response\n")
		n:expect("%[" .. n.echo .. "%] <TRACE " .. n.self .. "%-%d+> %d+ end\n")
		n:expect("%[" .. n.self .. "%] <TRACE " .. n.self .. "%-%d+> %d+ resume\n")
		run("trace " .. n.self .. " off")
		run("trace " .. n.self)
		n:expect "Turn trace log true for lua"
		n:expect "Turn trace log false for lua"
		n:expect "Turn trace log nil for lua"
	end)

	it("signals services", function()
		run("signal " .. n.echo .. " 1")
		n:expect(n.echo .. "%] Current Memory %d+%.%d%d%dK")
		run("signal " .. n.echo .. " 7")
		n:expect(n.echo .. "%] recv a signal 7")
		run("signal " .. n.echo .. " x", "Error")
	end)

	it("breaks an endless loop that another client injected, who is told", function()
		local other = console.connect(n.port)
		other:send("inject " .. n.echo .. " " .. node.file("loop.lua", "while true do end") .. "\n")
		node.eventually(function()
			run("signal " .. n.echo)
			return pcall(other.expect, other, "signal 0.*<CMD Error>\n", 0.5)
		end)
		assert.truthy(run "list":find(n.echo, 1, true))
		assert.truthy(run("ping " .. n.echo))
		other:close()
	end)

	it("shows C memory, jemalloc, the heap profile", function()
		local cmem = lines_of(run "cmem")
		assert.truthy(cmem.total and cmem.block)
		for line in run("jmem"):gmatch "[^\n]+" do
			assert.truthy(line:find "^stats%.%a+\t *%d+ +%d+%.%d%d Mb$", line)
		end
		assert.truthy(run("profactive"):find "^heap profilling is deactive\n$")
		run "profactive off"
		run "dumpheap"
	end)

	it("shows sockets", function()
		local text = run "netstat"
		assert.truthy(text:find("^%d+\taccept:%d+\taddress::%x+\tid:%d+\trtime:%S+\tsock:127%.0%.0%.1:"
			.. n.port .. "\ttype:LISTEN\n") or text:find("\n%d+\taccept:%d+\taddress:"), text)
		assert.truthy(text:find("\tpeer:127%.0%.0%.1:%d+\tread:%S+\treading:true\t"), text)
	end)

	it("gets and sets configuration keys", function()
		assert.equal("harbor\t0\n", run "getenv harbor")
		assert.equal("no_such_key\tnil\n", run "getenv no_such_key")
		assert.equal("", run "setenv spec_key 5")
		assert.equal("spec_key\t5\n", run "getenv spec_key")
		assert.truthy(run("setenv spec_key 6", "Error"):find "Can't setenv exist key : spec_key")
	end)

	it("clears the code cache", function()
		assert.equal("", run "clearcache")
	end)

	it("shows and sets the log level", function()
		assert.equal("info\n", run "log")
		assert.equal("warn\n", run "log WARN")
		assert.equal("info\n", run "log info")
	end)

	it("refuses what it doesn't know, with a blank line", function()
		local invalid = "Invalid command, type help for command list\n\n"
		assert.equal(invalid, run("nonsense", "Error"))
		assert.equal(invalid, run(" ", "Error"))
		assert.equal(invalid, run("\r", "Error"))
		con:send "\n\n"
		assert.equal("harbor\t0\n", run "getenv harbor\r")
	end)

	it("shows what each worker does", function()
		local text = run "threads"
		assert.truthy(text:find("source::%x+\ttype:%a+\tfor:%d+%.%d%d%ds\tsnlua debug_console"), text)
	end)

	it("lets tools find its commands, as they do in the field", function()
		local address = run("list"):match "(:%x+)\tsnlua debug_console"
		local path = node.file("inject.lua", [[
			local function upvalue(f, name)
				for i = 1, 100 do
					local n, v = debug.getupvalue(f, i)
					if n == name then return v end
				end
			end
			local pool = upvalue(_P.socket.socket_message[1], "socket_pool")
			for _, s in pairs(pool) do
				local commands = s.callback and upvalue(s.callback, "COMMAND")
				if commands then
					function commands.added(a) return { got = a } end
					print "found"
				end
			end
		]])
		assert.equal("found\n", run("inject " .. address .. " " .. path))
		assert.equal("got\tx\n", run "added x")
	end)

	it("lets tools log every launch", function()
		local path = node.file("inject.lua", "_P.lua.command.LAUNCH = _P.lua.command.LOGLAUNCH")
		run("inject 3 " .. path)
		local addr = run("start echo"):match "^:(%x+)"
		n:expect("Open log file " .. logs .. "/" .. addr .. ".log")
	end)

	it("offers a service's internals by name", function()
		local names = { "proto", "session_id_coroutine", "session_coroutine_id",
			"session_coroutine_address", "session_coroutine_tracetag", "coroutine_pool",
			"fork_queue", "wakeup_queue", "error_queue", "sleep_session", "trace_source", "skynet", "c" }
		local path = node.file("inject.lua", ("for n in ('%s'):gmatch '%%S+' do assert(type(_U[n])"
			.. " == 'table', n) end assert(_P.error.unresponse and _P.error.watching_session)"
			.. " print 'all'"):format(table.concat(names, " ")))
		assert.equal("all\n", run("inject " .. n.echo .. " " .. path))
	end)

	it("survives lines without an end", function()
		local long = console.connect(n.port)
		long:send(("x"):rep(100000))
		long:rest()
		long:close()
		assert.equal("harbor\t0\n", run "getenv harbor")
	end)

	it("survives clients that leave in the middle of anything", function()
		for _, text in ipairs { "", "lis", "list", "list\n", "GET /list", "GET /list HTTP/1.1\r\nHost:",
			"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\nlist", "debug " .. n.echo .. "\n",
			"debug " .. n.echo .. "\nprint(1" } do
			local client = console.connect(n.port)
			client:send(text)
			client:close()
		end
		assert.equal("harbor\t0\n", run "getenv harbor")
		node.eventually(function() -- the debugger was left by its connection's end
			return not run("list"):find "debug_agent"
		end)
	end)
end)

describe("the debug console over HTTP", function()
	local n

	setup(function()
		n = start()
	end)

	teardown(function()
		n:kill()
	end)

	local function curl(arguments)
		local p = io.popen(("curl -sS -m 60 -i %s 2>&1"):format(arguments))
		local text = p:read "a"
		p:close()
		return text
	end

	local function get(path)
		return curl(("'http://127.0.0.1:%d%s'"):format(n.port, path))
	end

	it("answers strict clients", function()
		local text = get("/ping/" .. n.echo:gsub("^:0*", ""))
		assert.truthy(text:find "^HTTP/1%.1 200 OK\r\n")
		assert.truthy(text:find "Content%-Length: %d+\r\n")
		assert.truthy(text:find "\r\n\r\nWelcome to skynet console\n%d+\n<CMD OK>\n$")
	end)

	it("decodes paths, and takes bodies", function()
		assert.truthy(get("/call/" .. n.echo .. "/%22echo%22%2C%20%22a%20%2F%20b%22")
			:find("1\ta / b\n", 1, true))
		assert.truthy(curl(("-d 'getenv harbor' http://localhost:%d/"):format(n.port))
			:find("harbor\t0\n<CMD OK>\n", 1, true))
		local body = ("x"):rep(5000) -- curl asks whether it may send that much
		assert.truthy(curl(("-H 'Expect: 100-continue' -d %s http://127.0.0.1:%d/"):format(body,
			n.port)):find "Invalid command")
	end)

	it("refuses other sites, methods, and what is too long", function()
		local url = ("http://127.0.0.1:%d/list"):format(n.port)
		for _, header in ipairs { "Host: evil.example", "Origin: http://evil.example",
			"Referer: http://evil.example/", "Sec-Fetch-Site: cross-site" } do
			local text = curl(("-H '%s' %s"):format(header, url))
			assert.truthy(text:find "^HTTP/1%.1 403 Forbidden\r\n", header)
			assert.falsy(text:find "snlua")
		end
		assert.truthy(curl("-X DELETE " .. url):find "^HTTP/1%.1 405 ")
		assert.truthy(curl("-X OPTIONS -H 'Origin: http://evil.example' " .. url):find "^HTTP/1%.1 403 ")
		assert.truthy(curl("-H 'Transfer-Encoding: chunked' -d list " .. url):find "^HTTP/1%.1 411 ")
		assert.truthy(curl(("-d %s %s"):format(("x"):rep(8193), url)):find "HTTP/1%.1 413 ")
	end)

	it("binds to loopback unless told otherwise", function()
		local inode = {}
		for line in io.lines("/proc/" .. n.pid .. "/net/tcp") do
			local ip, port = line:match "^%s*%d+: (%x+):(%x+) 00000000:0000 0A"
			if port and tonumber(port, 16) == n.port then
				inode[#inode + 1] = ip
			end
		end
		assert.same({ "0100007F" }, inode)
	end)
end)

describe("the debug console of a node in trouble", function()
	it("answers while every worker is busy", function()
		local n = start { thread = 2 }
		local con = console.connect(n.port)
		local path = node.file("inject.lua", [[
			local skynet = require "skynet"
			for i = 1, 8 do -- services that keep themselves busy with messages
				local s = skynet.newservice "echo"
				skynet.call(s, "debug", "RUN", "local skynet = require 'skynet' "
					.. "local function again() local t = skynet.hpc() + 1e6 "
					.. "while skynet.hpc() < t do end skynet.timeout(0, again) end "
					.. "for i = 1, 500 do skynet.timeout(0, again) end")
			end
		]])
		con:run("inject " .. n.self .. " " .. path)
		local begin = kit.now()
		assert.truthy(con:run("list"):find "snlua echo")
		con:run "mem 100"
		assert.truthy(kit.now() - begin < 30)
		con:close()
		n:kill()
	end)
end)
