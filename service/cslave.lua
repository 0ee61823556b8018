--- The harbor slave: connects this node to the master and to the other nodes.
--
-- Named .cslave. It keeps the connection to the master, learns from it which nodes come and go
-- and where global names are, and hands the connections to other nodes to the C service
-- `harbor`, which carries the messages.
--
-- Who comes later is dialled by all who are there: at its start a slave waits for as many
-- connections as the master said there'll be, then stops listening. From then on it dials the
-- nodes that the master announces.

local skynet = require "skynet"
local socket = require "skynet.socket"
local driver = require "skynet.socketdriver"
local wire = require "skynet.harborpackage"
require "skynet.manager"

local HELLO_LIMIT = 10 -- seconds for the first byte of who connects
local MAX_HELLOS = 64 -- connections that haven't sent it
local MAX_NAMES = 65536
local start_limit -- seconds to wait for the other nodes

local harbor_id
local harbor_service
local master -- socket; false once it was lost

local names, name_count = {}, 0 -- global name -> handle
local queries = {} -- global name -> answers owed
local links = {} -- harbor id -> socket of the link, which the harbor service holds
local announced = {} -- harbor id -> address, of nodes that joined later than this one
local closed = {} -- harbor id -> links we closed that the harbor service has still to report
local until_down, until_up = {}, {} -- harbor id -> answers owed
local until_master_down = {} -- answers owed

local function settle(answers, ...)
	for _, answer in ipairs(answers or {}) do
		answer(true, ...)
	end
end

local function owe(list, key)
	local answers = list[key]
	if not answers then
		answers = {}
		list[key] = answers
	end
	answers[#answers + 1] = skynet.response()
	return #answers == 1
end

-- What happened to someone else's connection must not end ours.
local function tell_master(...)
	if master then
		socket.write(master, wire.pack(...))
	end
end

---------------------------------------------------------------------------------------------
-- Names

local function tell_harbor(handle, text)
	skynet.redirect(harbor_service, handle, "harbor", 0, text)
end

local function learn(name, handle)
	name_count = name_count + (names[name] and 0 or 1)
	names[name] = handle
	local answers = queries[name]
	queries[name] = nil
	settle(answers, handle)
	tell_harbor(handle, "N " .. name)
end

-- A node is gone, and its names with it.
local function forget_names_of(id)
	for name, handle in pairs(names) do
		if handle >> 24 == id then
			names[name] = nil
			name_count = name_count - 1
		end
	end
end

---------------------------------------------------------------------------------------------
-- Links

local function link_up(id, fd, how)
	links[id] = fd
	socket.abandon(fd)
	skynet.send(harbor_service, "harbor", ("%s %d %d"):format(how, fd, id))
	local answers = until_up[id]
	until_up[id] = nil
	settle(answers)
end

local function link_down(id)
	links[id] = nil
	local answers = until_down[id]
	until_down[id] = nil
	settle(answers)
end

-- The harbor service reports the end of each link once, also of those we closed: by then there
-- may be a new one.
local function link_ended(id)
	local ours = closed[id]
	if ours then
		closed[id] = ours > 1 and ours - 1 or nil
	else
		link_down(id)
	end
end

-- Connect to a node that joined later; until it works, or the node is gone.
local function dial(id, address)
	local pause = 10
	while announced[id] == address and not links[id] do
		local fd, err = socket.open(address)
		if fd and announced[id] == address and not links[id] then
			driver.nodelay(fd)
			skynet.error(("Connect to harbor %d (fd=%d), %s"):format(id, fd, address))
			link_up(id, fd, "S")
		elseif fd then
			socket.close(fd)
		else
			skynet.error(("Can't connect to harbor %d, %s : %s"):format(id, address, err))
			skynet.sleep(pause)
			pause = math.min(pause * 2, 500)
		end
	end
end

---------------------------------------------------------------------------------------------
-- Start: those who were there before connect to us

local arrival = { expected = 0, got = 0, hellos = 0 }

local function check_arrival()
	if arrival.got < arrival.expected then
		return
	end
	if arrival.waiting then
		skynet.wakeup(arrival)
	end
	local listener = arrival.listener
	if listener then
		arrival.listener = nil
		socket.close(listener)
	end
end

-- One of those we wait for may be gone before it connected.
local function one_less(id)
	if arrival.listener and not announced[id] and not links[id] then
		arrival.expected = arrival.expected - 1
		check_arrival()
	end
end

local function read_hello(fd)
	local done = wire.limit(fd, HELLO_LIMIT)
	local byte = socket.read(fd, 1)
	done()
	return byte and byte:byte()
end

local function connected(fd, from)
	if arrival.hellos >= MAX_HELLOS or not socket.start(fd) then
		socket.close_fd(fd)
		return
	end
	skynet.error(("New connection (fd = %d, %s)"):format(fd, from))
	socket.limit(fd, 1024)
	arrival.hellos = arrival.hellos + 1
	local id = read_hello(fd)
	arrival.hellos = arrival.hellos - 1
	if id and id > 0 and id ~= harbor_id and not links[id] and arrival.listener then
		skynet.error(("Harbor %d connected (fd = %d)"):format(id, fd))
		link_up(id, fd, "A")
		arrival.got = arrival.got + 1
		check_arrival()
		return
	elseif id and links[id] then
		skynet.error(("Slave %d exist (fd =%d)"):format(id, fd))
	elseif id then
		skynet.error(("Invalid harbor id %d (fd = %d)"):format(id, fd))
	end
	socket.close(fd)
end

local function wait_for_others(n)
	skynet.error(("Waiting for %d harbors"):format(n))
	arrival.expected = n
	if arrival.got < n then
		arrival.waiting = true
		skynet.sleep(start_limit * 100, arrival)
		arrival.waiting = nil
	end
	if arrival.got < arrival.expected then
		skynet.error(("Only %d of %d harbors connected in %d seconds: the others may come later")
			:format(arrival.got, arrival.expected, start_limit))
	end
	check_arrival()
end

---------------------------------------------------------------------------------------------
-- The master

local from_master = {}

-- A new node.
function from_master.C(id, address)
	if math.type(id) ~= "integer" or id < 1 or id > 255 or type(address) ~= "string" then
		error("Invalid package C", 0)
	end
	announced[id] = address
	if arrival.ready then
		skynet.fork(dial, id, address)
	end
end

-- Somebody's name.
function from_master.N(name, handle)
	if not wire.is_name(name, handle) then
		error("Invalid package N", 0)
	elseif not names[name] and name_count >= MAX_NAMES then
		error("Too many global names", 0)
	end
	learn(name, handle)
end

-- A node is gone.
function from_master.D(id)
	one_less(id)
	announced[id] = nil
	forget_names_of(id)
	local fd = links[id]
	if fd then
		driver.close(fd)
		closed[id] = (closed[id] or 0) + 1
		link_down(id)
	end
end

local function follow_master()
	local function handle(kind, ...)
		if kind == nil then
			return false
		end
		local f = from_master[kind]
		if not f then
			error("Invalid master message type " .. tostring(kind), 0)
		end
		f(...)
		return true
	end
	local ok, err = pcall(function()
		while handle(wire.read(master)) do end -- luacheck: ignore
	end)
	if not ok then
		skynet.error(err)
	end
	skynet.error "Master disconnect"
	local fd, answers, open = master, until_master_down, queries
	master, until_master_down, queries = false, {}, {}
	settle(answers)
	for _, list in pairs(open) do
		for _, answer in ipairs(list) do
			answer(false)
		end
	end
	socket.close(fd)
end

local function join(address)
	tell_master("H", harbor_id, address)
	local done = wire.limit(master, start_limit)
	local ok, kind, n = pcall(wire.read, master)
	done()
	assert(ok and kind == "W" and math.type(n) == "integer", "slave shakehand failed")
	return n
end

---------------------------------------------------------------------------------------------
-- Requests of this node's services

local command = {}

function command.REGISTER(name, handle)
	assert(names[name] == nil, "this global name is registered already: assertion failed!")
	if not wire.is_name(name, handle) then
		error(("a global name has 1 to 15 bytes and a handle: %s, %s"):format(name, handle))
	end
	skynet.ignoreret()
	learn(name, handle)
	tell_master("R", name, handle)
end

function command.QUERYNAME(name)
	if name:sub(1, 1) == "." then
		skynet.retpack(skynet.localname(name))
	elseif names[name] then
		skynet.retpack(names[name])
	elseif not master then
		error(("global name %s: unknown here, and the connection to the master was lost"):format(name))
	elseif owe(queries, name) then
		tell_master("Q", name)
	end
end

function command.LINK(id)
	if links[id] then
		owe(until_down, id)
	else
		skynet.ret()
	end
end

function command.CONNECT(id)
	if links[id] or id == harbor_id then
		skynet.ret()
	else
		owe(until_up, id)
	end
end

function command.LINKMASTER()
	if master then
		until_master_down[#until_master_down + 1] = skynet.response()
	else
		skynet.ret()
	end
end

-- The harbor service: "Q name": where is it? "D id": a link has ended.
local function from_harbor(text)
	local kind, what = text:match "^(%a) (.+)$"
	if kind == "Q" then
		if names[what] then
			tell_harbor(names[what], "N " .. what)
		else
			tell_master("Q", what)
		end
	elseif kind == "D" then
		link_ended(tonumber(what))
	else
		skynet.error("Unknown command " .. text)
	end
end

---------------------------------------------------------------------------------------------

local function as_it_is(...)
	return ...
end

skynet.register_protocol { name = "harbor", id = skynet.PTYPE_HARBOR, pack = as_it_is,
	unpack = skynet.tostring }
skynet.register_protocol { name = "text", id = skynet.PTYPE_TEXT, pack = as_it_is,
	unpack = skynet.tostring }

local function setting(key, what)
	return assert(skynet.getenv(key), ("harbor mode needs the configuration key %s: %s (harbor = 0 "
		.. "is a node of its own)"):format(key, what))
end

skynet.start(function()
	local address = setting("address", "where other nodes connect to this one, \"ip:port\"")
	local master_address = setting("master", "where the harbor master listens, \"ip:port\"")
	harbor_id = assert(tonumber(skynet.getenv "harbor"))
	start_limit = tonumber(skynet.getenv "harbor_timeout") or 30
	arrival.listener = socket.listen(address)
	skynet.error("slave connect to master " .. master_address)
	master = assert(socket.open(master_address), "Can't connect to master")
	skynet.dispatch("lua", function(_, _, cmd, ...)
		local f = assert(command[cmd], "unknown command")
		f(...)
	end)
	skynet.dispatch("text", function(_, source, text)
		if source == harbor_service then
			from_harbor(text)
		end
	end)
	harbor_service = assert(skynet.launch("harbor", harbor_id, skynet.self()))
	local others = join(address)
	skynet.fork(follow_master)
	socket.start(arrival.listener, connected)
	wait_for_others(others)
	skynet.error "Shakehand ready"
	arrival.ready = true
	for id, where in pairs(announced) do
		skynet.fork(dial, id, where)
	end
end)
