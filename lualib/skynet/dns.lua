--- Host names to addresses without blocking a worker: hosts file, cache, then name servers by
--- UDP, or TCP when the answer doesn't fit.
--
-- A question goes to the first server; to the next one when that doesn't answer within RETRY or
-- says that it can't; around the servers until its time is up. Coroutines that ask the same
-- question at the same time share one query. An answer counts when it comes from the address and
-- port that was asked, to the socket that asked, with the random id of a question in flight, and
-- repeats the question. Sockets, and so their random ports, are replaced every minute.
--
-- `servers` is the list in use: { ip =, port =, udp = socket or nil }.

local message = require "skynet.dns.message"
local skynet = require "skynet"
local socket = require "skynet.socket"

local TIMEOUT = 3000 -- cs, for a question
local RETRY = 300 -- cs, until it's sent again
local IDLE = 6000 -- cs: a socket is replaced, or closed when it's unused, after that
local CHECK = 12000 -- cs, between two looks at unused sockets
local CONF_AGE = 6000 -- cs: the resolver's file is read again after that
local SERVERS_MAX = 3
local REFUSALS = 2 -- times that each server may say that it can't
local IN_FLIGHT_MAX = 10000 -- questions
local CACHE_MAX = 10000 -- names

local dns = {
	DEFAULT_HOSTS = "/etc/hosts",
	DEFAULT_RESOLV_CONF = "/etc/resolv.conf",
}

local servers -- nil: not known yet
local configured -- when they were read from the resolver's file (cs); nil: the user named them
local watching = false -- does a timer look at the sockets?
local hosts -- family -> name -> list; nil: not read yet
local cache = {} -- "type name" -> { expires (cs), list, rcode }
local cached = 0
local questions = {} -- id -> question in flight
local in_flight = 0
local asking = {} -- "type name" -> question in flight
local random_bytes = ""

---------------------------------------------------------------------------------------------
-- Files

local function is_v4(s)
	return s:find "^[%d.]+$" ~= nil
end

local function is_v6(s)
	return s:find(":", 1, true) ~= nil
end

local function lines_of(path)
	local f = path and io.open(path)
	if not f then
		return function() end
	end
	local text = f:read "a"
	f:close()
	return text:gmatch "[^\r\n]+"
end

local function read_hosts()
	hosts = { [message.A] = {}, [message.AAAA] = {} }
	for line in lines_of(dns.DEFAULT_HOSTS) do
		local ip, names = line:match "^%s*([%x.:]+)%s+([^#;]+)"
		local family = ip and hosts[is_v6(ip) and message.AAAA or message.A]
		for name in (names or ""):gmatch "%S+" do
			name = name:lower()
			family[name] = family[name] or {}
			table.insert(family[name], ip)
		end
	end
end

local function new_server(ip, port)
	-- as the socket library writes it, so that senders compare
	local ok, list = pcall(socket.resolve, ip)
	return { ip = ok and list[1] or ip, port = port or 53 }
end

local function same_servers(a, b)
	for i = 1, math.max(#a, #b) do
		if not a[i] or not b[i] or a[i].ip ~= b[i].ip or a[i].port ~= b[i].port then
			return false
		end
	end
	return true
end

-- Servers of the resolver's file.
local function read_servers()
	local list = {}
	for line in lines_of(dns.DEFAULT_RESOLV_CONF) do
		local ip = line:match "^%s*nameserver%s+([%x.:]+)"
		if ip and #list < SERVERS_MAX then
			list[#list + 1] = new_server(ip)
		end
	end
	return list
end

---------------------------------------------------------------------------------------------
-- Sockets

local function close_udp(server, udp)
	if server.udp == udp then
		server.udp = nil
	end
	skynet.error(("Udp server close %s:%s (%d)"):format(server.ip, server.port, udp.id))
	socket.close(udp.id)
end

-- Ask these servers from now on.
local function use(list)
	for _, server in ipairs(servers or {}) do
		if server.udp then
			skynet.fork(close_udp, server, server.udp)
		end
	end
	servers, configured = list, nil
end

-- Find servers, unless the user named some; again now and then, as the file may change.
local function configure()
	if servers and (not configured or skynet.now() - configured < CONF_AGE) then
		return
	end
	local list = read_servers()
	if not servers then
		assert(#list > 0, "Call dns.server first")
	end
	if #list > 0 and not (servers and same_servers(servers, list)) then
		use(list)
	end
	configured = skynet.now()
end

local function close_idle()
	local open = false
	for _, server in ipairs(servers) do
		local udp = server.udp
		if udp and udp.pending == 0 and skynet.now() - udp.used >= IDLE then
			close_udp(server, udp)
		end
		open = open or server.udp ~= nil
	end
	watching = open
	if open then
		skynet.timeout(CHECK, close_idle)
	end
end

local on_datagram -- (server, udp, msg, from)

-- The socket to ask a server through.
local function udp_of(server)
	local udp = server.udp
	if udp and skynet.now() - udp.opened >= IDLE then
		server.udp = nil
		skynet.timeout(TIMEOUT, function() -- some still wait for answers
			close_udp(server, udp)
		end)
		udp = nil
	end
	if not udp then
		local new = { pending = 0, opened = skynet.now() }
		new.id = socket.udp_dial(server.ip, server.port, function(msg, from)
			on_datagram(server, new, msg, from)
		end)
		server.udp, udp = new, new
		skynet.error(("Udp server open %s:%s (%d)"):format(server.ip, server.port, udp.id))
	end
	if not watching then
		watching = true
		skynet.timeout(CHECK, close_idle)
	end
	udp.used = skynet.now()
	return udp
end

---------------------------------------------------------------------------------------------
-- Questions

local function finish(question, answer)
	if question.done then
		return
	end
	questions[question.id] = nil
	in_flight = in_flight - 1
	asking[question.key] = nil
	question.done, question.answer = true, answer
	skynet.wakeup(question)
	for _, waiter in ipairs(question.waiters) do
		skynet.wakeup(waiter)
	end
end

-- A server has answered: it knows, or knows that there's nothing, or can't tell.
local function settle(question, answer)
	if #answer.list > 0 or answer.rcode == message.FINE or answer.rcode == message.NO_SUCH_NAME then
		finish(question, answer)
		return
	end
	question.refusals = question.refusals + 1
	if question.refusals >= REFUSALS * #servers then
		finish(question, answer)
	else
		skynet.wakeup(question) -- on to the next server
	end
end

-- The answer was cut: ask again over TCP.
local function ask_by_tcp(question, server)
	local id = socket.open(server.ip, server.port, RETRY)
	if not id then
		return
	end
	skynet.timeout(RETRY, function()
		socket.shutdown(id)
	end)
	local ok, answer = pcall(function()
		socket.write(id, string.pack(">s2", question.bytes))
		local head = assert(socket.read(id, 2))
		local msg = assert(socket.read(id, (string.unpack(">I2", head))))
		return message.decode(msg, question.bytes)
	end)
	socket.close(id)
	if ok and not question.done then
		settle(question, answer)
	end
end

function on_datagram(server, udp, msg, from)
	local question = #msg >= 12 and questions[string.unpack(">I2", msg)]
	if not question or not question.sent[udp] then
		return
	end
	local ip, port = socket.udp_address(from)
	if ip ~= server.ip or port ~= server.port then
		skynet.error(("dns: dropped an answer about %s from %s:%s"):format(question.name, ip, port))
		return
	end
	local ok, answer = pcall(message.decode, msg, question.bytes)
	if not ok then
		skynet.error(("dns: dropped an answer about %s: %s"):format(question.name, answer))
	elseif not answer.truncated then
		settle(question, answer)
	elseif not question.by_tcp[server] then
		question.by_tcp[server] = true
		skynet.fork(ask_by_tcp, question, server)
	end
end

-- A number that nobody can guess, from 1 to 65535.
local function random_id()
	while true do
		if #random_bytes < 2 then
			local f = io.open("/dev/urandom", "rb")
			random_bytes = f and f:read(256) or string.pack("<I8I8", math.random(0), math.random(0))
			if f then
				f:close()
			end
		end
		local id = string.unpack("<I2", random_bytes)
		random_bytes = random_bytes:sub(3)
		if id > 0 and not questions[id] then
			return id
		end
	end
end

local function send(question, server)
	local udp = udp_of(server)
	if not question.sent[udp] then
		question.sent[udp] = true
		udp.pending = udp.pending + 1
	end
	socket.write(udp.id, question.bytes)
end

local function send_until_answered(question)
	local deadline = skynet.now() + TIMEOUT
	local turn = 0
	while not question.done and skynet.now() < deadline do
		local ok, err = pcall(send, question, servers[turn % #servers + 1])
		if not ok then
			skynet.error("dns:", err)
		end
		turn = turn + 1
		skynet.sleep(math.min(RETRY, deadline - skynet.now()), question)
	end
	for udp in pairs(question.sent) do
		udp.pending = udp.pending - 1
	end
	if not question.done then
		skynet.error(("DNS query %s timeout"):format(question.name))
		finish(question)
	end
end

local function new_question(key, name, kind)
	if in_flight >= IN_FLIGHT_MAX then
		error "dns: too many questions at once"
	end
	local id = random_id()
	in_flight = in_flight + 1
	local question = { id = id, key = key, name = name, bytes = message.encode(id, name, kind),
		sent = {}, by_tcp = {}, waiters = {}, refusals = 0 }
	questions[id], asking[key] = question, question
	skynet.fork(send_until_answered, question)
	return question
end

local function remember(key, answer)
	if answer.ttl <= 0 or answer.rcode ~= message.FINE and #answer.list == 0 and
		answer.rcode ~= message.NO_SUCH_NAME then
		return
	elseif cached >= CACHE_MAX then
		cache, cached = {}, 0
	end
	if not cache[key] then
		cached = cached + 1
	end
	cache[key] = { expires = skynet.now() + answer.ttl * 100, list = answer.list,
		rcode = answer.rcode }
end

-- The answer to a question; nil when there was none in time.
local function ask(key, name, kind, timeout)
	configure()
	local question = asking[key] or new_question(key, name, kind)
	if not question.done then
		local waiter = {}
		table.insert(question.waiters, waiter)
		skynet.sleep(timeout or 2 * TIMEOUT, waiter)
	end
	return question.answer
end

---------------------------------------------------------------------------------------------
-- The module

local function is_legal(name)
	if #name > 1024 or name == "" or name:find "[^_%l%d%-.]" then
		return false
	end
	for label in name:gmatch "[^.]+" do
		if #label > 63 then
			return false
		end
	end
	return true
end

local function reason(answer)
	if not answer then
		return "timeout or no answer"
	elseif answer.rcode == message.NO_SUCH_NAME then
		return "no such name (timeout or no answer)"
	elseif answer.rcode == message.FINE then
		return "no such address (timeout or no answer)"
	end
	return ("the server failed with code %d (timeout or no answer)"):format(answer.rcode)
end

-- A fresh answer from the cache or the servers, or an old one: better than none.
local function look_up(key, name, kind, timeout)
	local entry = cache[key]
	if entry and entry.expires > skynet.now() then
		return entry
	end
	local answer = ask(key, name, kind, timeout)
	if answer and #answer.list > 0 then
		remember(key, answer)
	elseif entry and #entry.list > 0 then
		return entry
	elseif answer then
		remember(key, answer)
	end
	return answer
end

--- Addresses of a host name. Literal addresses come back as they are.
--- Raises a text with `timeout or no answer` when no server answers in time, or there's no such
--- name.
---@param name string
---@param ipv6 boolean|nil
---@param timeout integer|nil  cs, default 30 seconds
---@return string|nil address, string[]|string all  nil, "illegal name"
function dns.resolve(name, ipv6, timeout)
	if is_v4(name) or is_v6(name) then
		return name
	end
	name = name:lower()
	if not is_legal(name) then
		return nil, "illegal name"
	end
	if not hosts then
		read_hosts()
	end
	local kind = ipv6 and message.AAAA or message.A
	local list = hosts[kind][name]
	if not list then
		local answer = look_up(kind .. " " .. name, name, kind, timeout)
		list = answer and answer.list
		if not list or #list == 0 then
			error(("dns: %s: %s"):format(name, reason(answer)))
		end
	end
	return list[1], list
end

--- Ask this name server from now on, or these.
--- Without an address: the servers of the resolver's file.
---@param server string|nil|{ [1]: string, [2]: integer|nil }[]  address; or a list of { address,
---  port }, asked in this order
---@param port integer|nil  default 53
function dns.server(server, port)
	if type(server) == "table" then
		local list = {}
		for i, s in ipairs(server) do
			list[i] = new_server(s[1], s[2])
		end
		assert(#list > 0, "dns.server: the list is empty")
		use(list)
	elseif server then
		use { new_server(server, port) }
	else
		local list = read_servers()
		assert(#list > 0, "Call dns.server first")
		use(list)
		configured = skynet.now()
	end
end

--- Forget all answers, and the hosts file.
function dns.flush()
	cache, cached = {}, 0
	hosts = nil
end

return dns
