--- The debug console: a line-based command interface on a TCP port, loopback by default.
--
-- A line that begins with GET or POST is an HTTP request: its path (or body) is the command, and
-- the answer is a proper HTTP response whose body is what a connection by lines would show. To
-- keep web pages from using that, requests that a browser sends for another site are refused,
-- and so are all other methods. The greeting waits a moment for a request, so that it doesn't
-- come before the status line.
--
-- Each connection has one coroutine that reads its lines. While the debugger has it, lines go
-- there. Lines, bodies, headers and the number of connections are limited.

local console = require "skynet.console"
local skynet = require "skynet"
local socket = require "skynet.socket"

local LINE_MAX = 8192 -- bytes; of bodies, too
local HEADERS_MAX = 100
local CLIENTS_MAX = 128
local GREETING = "Welcome to skynet console\n"
local GREET_AFTER = 10 -- cs

local arg = table.pack(...)
assert(arg.n <= 2, "debug_console [ip] port")
local ip = arg.n == 2 and arg[1] or "127.0.0.1"
local port = tonumber(arg[arg.n])

local COMMAND = console.COMMAND
local COMMANDX = console.COMMANDX
local clients = 0

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

-- A print function whose text goes to `write`.
local function printer(write)
	return function(...)
		local values = table.pack(...)
		for i = 1, values.n do
			values[i] = tostring(values[i])
		end
		write(table.concat(values, "\t") .. "\n")
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

local function run(line, print, connection)
	local words = split(line)
	local name = words[1]
	local f, fx = COMMAND[name], COMMANDX[name]
	local ok, result
	if f then
		ok, result = pcall(f, table.unpack(words, 2))
	elseif fx then
		ok, result = pcall(fx, { line = line, words = words, print = print,
			connection = connection })
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

---------------------------------------------------------------------------------------------
-- HTTP

-- Headers of a request; nil when there are too many, or the connection ended.
local function read_headers(id)
	local headers = {}
	for _ = 1, HEADERS_MAX do
		local line = read_line(id)
		if not line then
			return nil
		end
		line = line:gsub("\r$", "")
		if line == "" then
			return headers
		end
		local name, value = line:match "^([^:]+):%s*(.-)%s*$"
		if name then
			headers[name:lower()] = value
		end
	end
end

-- Would a browser send this on behalf of another site? Then it says where that comes from. A
-- host given by name may be one that the other site made point at us.
local function cross_site(headers)
	local host = (headers.host or ""):gsub(":%d+$", "")
	local allowed = host == "" or host == "localhost" or host == ip or host:find "^[%d.]+$"
		or host:find "^%[[%x:.]+%]$"
	return not allowed or headers.origin ~= nil or headers.referer ~= nil
		or (headers["sec-fetch-site"] or "none") ~= "none"
end

local function read_body(id, headers)
	local length = math.tointeger(headers["content-length"])
	if not length or length < 0 then
		return nil, "411 Length Required"
	elseif length > LINE_MAX then
		return nil, "413 Content Too Large"
	elseif (headers.expect or ""):lower() == "100-continue" then
		socket.write(id, "HTTP/1.1 100 Continue\r\n\r\n")
	end
	local body = socket.read(id, length)
	return body or nil, "400 Bad Request"
end

-- The command of a request; or nil and the status to refuse it with.
local function http_command(id, method, path)
	local headers = read_headers(id)
	if not headers then
		return nil, "400 Bad Request"
	elseif cross_site(headers) then
		skynet.error "debug console: a request from another site is refused"
		return nil, "403 Forbidden"
	elseif method == "POST" then
		return read_body(id, headers)
	elseif method ~= "GET" then
		return nil, "405 Method Not Allowed"
	end
	local words = path:sub(2):gsub("/", " ")
	return (words:gsub("%%(%x%x)", function(hex)
		return string.char(tonumber(hex, 16))
	end))
end

local function serve_http(id, method, path)
	local cmd, refused = http_command(id, method, path)
	local output = {}
	local function write(text)
		output[#output + 1] = text
	end
	if cmd then
		write(GREETING)
		run(cmd, printer(write))
	else
		write(refused .. "\n")
	end
	local body = table.concat(output)
	socket.write(id, ("HTTP/1.1 %s\r\nContent-Type: text/plain; charset=utf-8\r\n"
		.. "Content-Length: %d\r\nX-Content-Type-Options: nosniff\r\n"
		.. "Connection: close\r\n\r\n%s"):format(cmd and "200 OK" or refused, #body, body))
end

---------------------------------------------------------------------------------------------
-- Connections

local function greet(connection)
	if not connection.greeted then
		connection.greeted = true
		socket.write(connection.id, GREETING)
	end
end

-- The debugger has the connection until it's left; then its command is shown as done.
local function start_debugger(line, print, connection)
	connection.typed = {} -- what comes before the debugger is ready
	skynet.fork(function()
		run(line, print, connection)
		connection.typed = nil
	end)
end

local function debugger_line(connection, line)
	if connection.debugger then
		-- a debugger that is gone gets nothing
		skynet.send(connection.debugger, "lua", "cmd", line)
	else
		table.insert(connection.typed, line)
	end
end

local function serve_line(connection, line, print)
	if connection.typed then
		debugger_line(connection, (line:gsub("\r$", "")))
	elseif line:find "^%s*debug%s" then
		start_debugger(line, print, connection)
	elseif line ~= "" then
		run(line, print, connection)
	end
end

local function serve(id)
	local connection = { id = id }
	local print = printer(function(text)
		socket.write(id, text)
	end)
	if not socket.start(id) then
		return
	end
	socket.limit(id, LINE_MAX * 2)
	skynet.timeout(GREET_AFTER, function()
		if not socket.disconnected(id) and not connection.over then
			greet(connection)
		end
	end)
	local line = read_line(id)
	while line do
		local method, path = line:match "^(%u+) (/%S*) HTTP/%d"
		if not method then
			method, path = line:match "^(%u+) (%S*)"
			method = (method == "GET" or method == "POST") and method or nil
		end
		if method then
			connection.greeted = true
			serve_http(id, method, path)
			break
		end
		greet(connection)
		serve_line(connection, line, print)
		line = read_line(id)
	end
	connection.over = true
	if connection.typed then
		debugger_line(connection, "cont")
	end
end

local function serve_client(id, from)
	skynet.error(from .. " connected")
	local ok, err = pcall(serve, id)
	if not ok then
		skynet.error(err)
	end
	clients = clients - 1
	skynet.error(from .. " disconnect")
	socket.close(id)
end

local function accept(id, from)
	-- tools that patch the console look for the table among these upvalues
	local _ = COMMAND
	if clients >= CLIENTS_MAX then
		skynet.error(("debug console: %s is refused, there are %d connections"):format(from,
			clients))
		return socket.close_fd(id)
	end
	clients = clients + 1
	skynet.fork(serve_client, id, from)
end

skynet.start(function()
	local id, _, bound = socket.listen(ip, port)
	skynet.error(("Start debug console at %s:%d"):format(ip, bound))
	socket.start(id, accept)
	skynet.info_func(function()
		return { ip = ip, port = bound }
	end)
end)
