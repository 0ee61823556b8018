--- Host names to addresses without blocking a worker: hosts file, cache, then a name server by
--- UDP, or TCP when the answer doesn't fit.
--
-- One UDP socket at a time serves all questions of the service; it's bound to the server, so the
-- kernel drops datagrams of others, and an answer must repeat the question. Coroutines that ask
-- the same question at the same time share one query. Everything an answer claims (lengths,
-- counts, compression pointers) is checked.

local skynet = require "skynet"
local socket = require "skynet.socket"

local TIMEOUT = 3000 -- cs, for a question
local RETRY = 500 -- cs, until it's sent again
local IDLE = 6000 -- cs: an unused socket is closed after that
local CHECK = 12000 -- cs, between two looks at it
local CACHE_MAX = 10000 -- names
local JUMPS_MAX = 64 -- compression pointers in one name
local TYPE = { A = 1, CNAME = 5, AAAA = 28 }
local TRUNCATED = 0x0200

local dns = {
	DEFAULT_HOSTS = "/etc/hosts",
	DEFAULT_RESOLV_CONF = "/etc/resolv.conf",
}

local name_server -- { ip, port }
local udp -- { id, used } while open
local hosts -- name -> list, per address family; nil: not read yet
local cache = {} -- "type name" -> { expires (cs), list }
local cached = 0
local questions = {} -- id -> question in flight
local asking = {} -- "type name" -> question in flight
local last_id = 0

---------------------------------------------------------------------------------------------
-- Files

local function is_v4(s)
	return s:find "^[%d.]+$" ~= nil
end

local function is_v6(s)
	return s:find(":", 1, true) ~= nil
end

local function read_hosts()
	hosts = { [TYPE.A] = {}, [TYPE.AAAA] = {} }
	local f = dns.DEFAULT_HOSTS and io.open(dns.DEFAULT_HOSTS)
	if not f then
		return
	end
	for line in f:lines() do
		local ip, names = line:match "^%s*([%x.:]+)%s+([^#;]+)"
		local family = ip and hosts[is_v6(ip) and TYPE.AAAA or TYPE.A]
		for name in (names or ""):gmatch "%S+" do
			name = name:lower()
			family[name] = family[name] or {}
			table.insert(family[name], ip)
		end
	end
	f:close()
end

local function configured_server()
	local f = dns.DEFAULT_RESOLV_CONF and io.open(dns.DEFAULT_RESOLV_CONF)
	local ip
	for line in f and f:lines() or function() end do
		ip = line:match "^%s*nameserver%s+([%x.:]+)"
		if ip then
			break
		end
	end
	if f then
		f:close()
	end
	return assert(ip, "Call dns.server first")
end

---------------------------------------------------------------------------------------------
-- The wire

local function encode_name(name)
	return (name:gsub("%.$", ""):gsub("([^.]+)%.?", function(label)
		return string.pack("s1", label)
	end)) .. "\0"
end

local function encode_query(id, name, qtype)
	return string.pack(">I2I2I2I2I2I2", id, 0x0100, 1, 0, 0, 0) .. encode_name(name) ..
		string.pack(">I2I2", qtype, 1)
end

-- The name at pos, and where it ends. Pointers must lead backwards, so there are no loops.
local function decode_name(msg, pos)
	local labels, after, size = {}, nil, 0
	for _ = 1, JUMPS_MAX + 128 do
		local n = string.unpack("B", msg, pos)
		if n == 0 then
			return table.concat(labels, "."):lower(), after or pos + 1
		elseif n >= 0xc0 then
			local target = (string.unpack(">I2", msg, pos) & 0x3fff) + 1
			after = after or pos + 2
			assert(target < pos, "pointer doesn't lead back")
			pos = target
		else
			assert(n < 64, "bad label")
			labels[#labels + 1] = msg:sub(pos + 1, pos + n)
			size = size + n + 1
			assert(size <= 255 and pos + n < #msg, "name too long")
			pos = pos + n + 1
		end
	end
	error "name too long"
end

local function decode_address(kind, data)
	if kind == TYPE.A and #data == 4 then
		return ("%d.%d.%d.%d"):format(data:byte(1, 4))
	elseif kind == TYPE.AAAA and #data == 16 then
		return ("%x:%x:%x:%x:%x:%x:%x:%x"):format(string.unpack(">I2I2I2I2I2I2I2I2", data))
	end
end

-- Addresses of one type in an answer, and the least time to live (seconds).
local function decode_records(msg, pos, count, qtype)
	local list, ttl = {}, math.huge
	for _ = 1, count do
		local kind, lifetime, data
		pos = select(2, decode_name(msg, pos))
		kind, _, lifetime, data, pos = string.unpack(">I2I2I4s2", msg, pos)
		local address = kind == qtype and decode_address(kind, data)
		if address then
			list[#list + 1] = address
			ttl = math.min(ttl, lifetime)
		end
	end
	return list, ttl
end

-- Raises when the message isn't an answer to the question.
local function decode_answer(msg, question)
	local _, flags, qd, an, pos = string.unpack(">I2I2I2I2", msg)
	pos = pos + 4
	assert(flags & 0x8000 ~= 0 and qd == 1, "not an answer")
	local name, qtype
	name, pos = decode_name(msg, pos)
	qtype, _, pos = string.unpack(">I2I2", msg, pos)
	assert(name == question.name:gsub("%.$", "") and qtype == question.qtype,
		"answers another question")
	if flags & TRUNCATED ~= 0 then
		return nil
	end
	return decode_records(msg, pos, an, qtype)
end

---------------------------------------------------------------------------------------------
-- Asking

local function finish(question, list, ttl)
	questions[question.id] = nil
	asking[question.key] = nil
	question.list, question.ttl, question.done = list, ttl, true
	for _, waiter in ipairs(question.waiters) do
		skynet.wakeup(waiter)
	end
end

-- The answer was cut: ask again over TCP.
local function ask_by_tcp(question)
	local id = socket.open(name_server.ip, name_server.port)
	if not id then
		return
	end
	question.tcp = id
	local list, ttl
	pcall(function()
		socket.write(id, string.pack(">s2", question.query))
		local head = assert(socket.read(id, 2))
		local msg = assert(socket.read(id, (string.unpack(">I2", head))))
		list, ttl = decode_answer(msg, question)
	end)
	socket.close(id)
	if list and not question.done then
		finish(question, list, ttl)
	end
end

local function on_datagram(msg)
	local question = #msg >= 12 and questions[string.unpack(">I2", msg)]
	if not question then
		return
	end
	local ok, list, ttl = pcall(decode_answer, msg, question)
	if not ok then
		skynet.error(("dns: dropped an answer about %s: %s"):format(question.name, list))
	elseif list then
		finish(question, list, ttl)
	elseif not question.by_tcp then
		question.by_tcp = true
		skynet.fork(ask_by_tcp, question)
	end
end

local function close_idle()
	local s = udp
	if not s then
		return
	elseif next(questions) == nil and skynet.now() - s.used >= IDLE then
		udp = nil
		skynet.error(("Udp server close %s:%s (%d)"):format(name_server.ip, name_server.port, s.id))
		socket.close(s.id)
	else
		skynet.timeout(CHECK, close_idle)
	end
end

local function open_udp()
	if not name_server then
		dns.server(configured_server())
	end
	if not udp then
		local id = socket.udp_dial(name_server.ip, name_server.port, on_datagram)
		udp = { id = id }
		skynet.error(("Udp server open %s:%s (%d)"):format(name_server.ip, name_server.port, id))
		skynet.timeout(CHECK, close_idle)
	end
	udp.used = skynet.now()
	return udp.id
end

local function new_id()
	for _ = 1, 0xffff do
		last_id = last_id % 0xffff + 1
		if not questions[last_id] then
			return last_id
		end
	end
	error "dns: too many questions at once"
end

local function send_until_answered(question)
	local deadline = skynet.now() + TIMEOUT
	while not question.done and skynet.now() < deadline do
		socket.write(open_udp(), question.query)
		skynet.sleep(math.min(RETRY, deadline - skynet.now()), question)
	end
	if not question.done then
		finish(question)
		if question.tcp then
			socket.shutdown(question.tcp)
		end
	end
end

local function remember(key, list, ttl)
	if cached >= CACHE_MAX then
		dns.flush()
	end
	if not cache[key] then
		cached = cached + 1
	end
	cache[key] = { expires = skynet.now() + ttl * 100, list = list }
end

local function ask(key, name, qtype)
	local question = asking[key]
	if not question then
		local id = new_id()
		question = { id = id, key = key, name = name, qtype = qtype,
			query = encode_query(id, name, qtype) }
		question.waiters = { question }
		questions[id], asking[key] = question, question
		local ok, err = pcall(send_until_answered, question)
		if not ok then
			finish(question)
			error(err, 0)
		end
	else
		local waiter = {}
		table.insert(question.waiters, waiter)
		skynet.wait(waiter)
	end
	local list = question.list
	if list and #list > 0 then
		remember(key, list, question.ttl)
		return list
	end
	return cache[key] and cache[key].list -- better old than none
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

--- Addresses of a host name. Literal addresses come back as they are.
--- Raises `timeout or no answer` after 30 seconds, or when there's no such name.
---@param name string
---@param ipv6 boolean|nil
---@return string|nil address, string[]|string all  nil, "illegal name"
function dns.resolve(name, ipv6)
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
	local qtype = ipv6 and TYPE.AAAA or TYPE.A
	local key = qtype .. " " .. name
	local list = hosts[qtype][name]
	local entry = cache[key]
	if not list and entry and entry.expires > skynet.now() then
		list = entry.list
	end
	list = list or ask(key, name, qtype)
	if not list then
		error(("dns: %s: timeout or no answer"):format(name))
	end
	return list[1], list
end

--- Ask this name server from now on.
---@param server string  address
---@param port integer|nil  default 53
function dns.server(server, port)
	local old = udp
	udp = nil
	if old then
		socket.close(old.id)
	end
	name_server = { ip = server, port = port or 53 }
end

--- Forget all answers, and the hosts file.
function dns.flush()
	cache, cached = {}, 0
	hosts = nil
end

return dns
