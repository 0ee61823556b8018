--- Real database servers for specs: each in a temporary folder, on a free loopback port.
--
-- servers.redis{ ... } and servers.mariadb{ ... } return once the server answers. A server object
-- has: port, pid, folder, log (a file), stop(), kill(). Whatever a spec leaves running ends by
-- servers.stop_all(), or with the process at the latest. The services that the packages install
-- are never used.

local kit = require "testkit"

local servers = {}

local LIMIT = 60 -- seconds to become ready
local tmp = os.getenv "TEST_TMP" or "/tmp"
local running = {}
local count = 0

local server = {}
server.__index = server

-- Let time pass; a service that waits isn't stuck.
local function nap()
	local skynet = package.loaded.skynet
	if skynet then
		skynet.sleep(3)
	else
		kit.sleep(0.03)
	end
end

--- A loopback port that nobody uses.
---@return integer
function servers.free_port()
	local fd, port = kit.listen()
	kit.close(fd)
	return port
end

--- A folder of its own; deleted with the test run's.
---@param name string
---@return string
function servers.folder(name)
	count = count + 1
	local path = ("%s/%s_%d_%d"):format(tmp, name, math.random(1 << 30), count)
	assert(os.execute("mkdir -p '" .. path .. "'"))
	return path
end

--- Text of a file, or "".
---@param path string
---@return string
function servers.slurp(path)
	local f = io.open(path)
	local text = f and f:read "a" or ""
	if f then
		f:close()
	end
	return text
end

local function run(s, words)
	s.log = s.folder .. "/log"
	os.remove(s.log)
	local quoted = {}
	for i, word in ipairs(words) do
		quoted[i] = "'" .. word:gsub("'", [['\'']]) .. "'"
	end
	local command = ("exec %s >'%s' 2>&1 </dev/null"):format(table.concat(quoted, " "), s.log)
	local out, input
	s.pid, out, input = kit.spawn { "sh", "-c", command }
	kit.close(out)
	kit.close(input)
	running[s] = true
	return s
end

-- Does it greet those who connect?
local function greets(s)
	local fd = kit.connect(s.port)
	if not fd then
		return false
	end
	local bytes = kit.read(fd, 1)
	kit.close(fd)
	return bytes ~= nil and bytes ~= ""
end

-- Start by words(server); again with another port when it doesn't stay up. ready(server): does it?
local function start(name, words, ready)
	local s
	for _ = 1, 3 do
		s = setmetatable({ port = servers.free_port(), folder = servers.folder(name),
			ready = ready }, server)
		s.words = words(s)
		run(s, s.words)
		if s:await() then
			return s
		end
		s:kill()
	end
	error(("%s doesn't start:\n%s"):format(name, servers.slurp(s.log)), 3)
end

--- Wait until it answers; false when it ended.
---@return boolean
function server:await()
	local deadline = kit.now() + LIMIT
	while kit.now() < deadline do
		if self:ready() then
			return true
		elseif kit.wait(self.pid, 0) then
			running[self] = nil
			return false
		end
		nap()
	end
	return false
end

--- Start it again, in the same folder and on the same port.
function server:restart()
	self:stop()
	run(self, self.words)
	assert(self:await(), "the server doesn't come back")
end

--- End it in good order.
function server:stop()
	if running[self] then
		kit.kill(self.pid, 15)
		if kit.wait(self.pid, 20) then
			running[self] = nil
		end
		self:kill()
	end
end

--- End it at once.
function server:kill()
	if running[self] then
		kit.kill(self.pid, 9)
		kit.wait(self.pid, 20)
		running[self] = nil
	end
end

--- Suspend it (it holds its connections, and says nothing), or go on.
---@param on boolean
function server:freeze(on)
	kit.kill(self.pid, on and 19 or 18)
end

--- End all servers that still run.
function servers.stop_all()
	for s in pairs(running) do
		s:freeze(false)
		s:kill()
	end
end

-- Options of a table as command line words, sorted, so that logs compare.
local function add_options(words, options, form)
	local names = {}
	for name in pairs(options or {}) do
		names[#names + 1] = name
	end
	table.sort(names)
	for _, name in ipairs(names) do
		form(words, name, tostring(options[name]))
	end
	return words
end

local function redis_option(words, name, value)
	words[#words + 1] = "--" .. name
	words[#words + 1] = value
end

--- A redis server. With tls = folder it speaks TLS only, with the certificate "localhost" that
--- the library certs made in the folder.
---@param options table<string, any>|nil  directives of its configuration
---@param tls string|nil
---@return table
function servers.redis(options, tls)
	local function ready(s)
		return servers.slurp(s.log):find "Ready to accept connections"
	end
	if tls then
		return start("redis", function(s)
			return add_options({ "redis-server", "--port", "0", "--tls-port", tostring(s.port),
				"--bind", "127.0.0.1", "--dir", s.folder, "--save", "",
				"--tls-cert-file", tls .. "/localhost.pem", "--tls-key-file", tls .. "/localhost.key",
				"--tls-ca-cert-file", tls .. "/ca.pem" }, options, redis_option)
		end, ready)
	end
	return start("redis", function(s)
		return add_options({ "redis-server", "--port", tostring(s.port), "--bind", "127.0.0.1",
			"--dir", s.folder, "--save", "", "--appendonly", "no", "--enable-debug-command", "yes",
			"--daemonize", "no" }, options, redis_option)
	end, ready)
end

--- Say something to a server, and return what it answers within a second.
---@param port integer
---@param text string
---@return string
function servers.say(port, text)
	local fd = assert(kit.connect(port))
	kit.write(fd, text, 1)
	local answer = kit.read(fd, 5) or ""
	kit.close(fd)
	return answer
end

local function order(s, text)
	local answer = servers.say(s.port, text .. "\r\n")
	assert(answer:sub(1, 1) ~= "-", answer)
	return answer
end

local function eventually(f)
	local deadline = kit.now() + LIMIT
	while not f() do
		assert(kit.now() < deadline, "this never came true")
		nap()
	end
end

local function join(nodes, masters)
	for i, s in ipairs(nodes) do
		s.id = order(s, "CLUSTER MYID"):match "%x+\r\n$":sub(1, -3)
		if i > 1 then
			order(s, ("CLUSTER MEET 127.0.0.1 %d %d"):format(nodes[1].port, nodes[1].bus))
		end
	end
	for i = 1, masters do
		order(nodes[i], ("CLUSTER ADDSLOTSRANGE %d %d"):format((i - 1) * 16384 // masters,
			i * 16384 // masters - 1))
	end
	for _, s in ipairs(nodes) do
		eventually(function()
			local _, known = order(s, "CLUSTER NODES"):gsub("connected", "")
			return known >= #nodes
		end)
	end
	for i = masters + 1, #nodes do
		nodes[i].master = nodes[(i - 1) % masters + 1]
		order(nodes[i], "CLUSTER REPLICATE " .. nodes[i].master.id)
	end
end

--- A redis cluster of some masters, and as many replicas. Its nodes, masters first.
---@param masters integer
---@param timeout integer  ms until a node counts as failed
---@return table[]
function servers.redis_cluster(masters, timeout)
	local nodes = {}
	for i = 1, 2 * masters do
		local bus = servers.free_port()
		nodes[i] = servers.redis { ["cluster-enabled"] = "yes", ["cluster-port"] = bus,
			["cluster-node-timeout"] = timeout, ["cluster-replica-validity-factor"] = 0,
			["repl-diskless-sync-delay"] = 0 }
		nodes[i].bus = bus
	end
	join(nodes, masters)
	for i, s in ipairs(nodes) do
		eventually(function()
			return order(s, "CLUSTER INFO"):find "cluster_state:ok" and
				(i <= masters or order(s, "INFO replication"):find "master_link_status:up")
		end)
	end
	return nodes
end

local function run_to_end(command, log)
	local pid, out, input = kit.spawn { "sh", "-c", ("%s >'%s' 2>&1 </dev/null"):format(command, log) }
	kit.close(out)
	kit.close(input)
	local code
	repeat
		nap()
		code = kit.wait(pid, 0)
	until code
	if code ~= 0 then
		error(("%s\nfailed:\n%s"):format(command, servers.slurp(log)), 0)
	end
end

local function is_root()
	local p = assert(io.popen "id -u")
	local id = p:read "l"
	p:close()
	return id == "0"
end

-- How InnoDB keeps small and doesn't wait for a disk.
local INNODB = {
	"--innodb-log-file-size=16M", "--innodb-data-file-path=ibdata1:12M:autoextend",
	"--innodb-flush-method=nosync", "--innodb-doublewrite=0", "--innodb-buffer-pool-size=16M",
	"--innodb-flush-log-at-trx-commit=0",
}

-- A data folder to copy: made once in a test run, as that takes seconds.
local function template(user)
	local path = tmp .. "/mariadb_template"
	local f = io.open(path .. "/made")
	if f then
		f:close()
		return path
	end
	run_to_end(("rm -rf '%s'; mariadb-install-db --no-defaults --datadir='%s/data' " ..
		"--skip-test-db --auth-root-authentication-method=normal %s %s && touch '%s/made'")
		:format(path, path, user, table.concat(INNODB, " "), path), servers.folder "install" .. "/log")
	return path
end

--- A MariaDB server, with a user `root` without a password. `sql` runs once before.
---@param options table<string, any>|nil  its options
---@param sql string|nil
---@return table
function servers.mariadb(options, sql)
	local user = is_root() and "--user=root" or nil
	local made = template(user or "")
	return start("mariadb", function(s)
		local data, init = s.folder .. "/data", s.folder .. "/init.sql"
		run_to_end(("cp -r '%s/data' '%s'"):format(made, data), s.folder .. "/copy")
		local f = assert(io.open(init, "w"))
		f:write(sql or "SELECT 1;\n")
		f:close()
		local words = { "mariadbd", "--no-defaults", "--datadir=" .. data, "--port=" .. s.port,
			"--bind-address=127.0.0.1", "--socket=" .. s.folder .. "/sock", "--init-file=" .. init,
			"--pid-file=" .. s.folder .. "/pid", "--skip-name-resolve", "--skip-log-bin",
			"--performance-schema=off", user }
		table.move(INNODB, 1, #INNODB, #words + 1, words)
		return add_options(words, options, function(list, name, value)
			list[#list + 1] = ("--%s=%s"):format(name, value)
		end)
	end, greets)
end

return servers
