--- The harbor master: knows which slaves there are, and the global names.
--
-- Runs on the node whose configuration has `standalone`, the address to listen on. A slave
-- reports its harbor id and address; the others are told to connect to it. When a slave's
-- connection ends, the others are told, and its id and names are free again.

local skynet = require "skynet"
local socket = require "skynet.socket"
local wire = require "skynet.harborpackage"

local HANDSHAKE_LIMIT = 10 -- seconds
local MAX_HANDSHAKES = 64 -- connections that haven't said who they are
local MAX_NAMES = 65536
local MAX_UNSENT = 4096 -- KB that a slave may leave unread

local slaves = {} -- id -> { fd =, address = }
local names, name_count = {}, 0 -- global name -> handle
local handshakes = 0

local function harbor_of(handle)
	return handle >> 24
end

local function broadcast(except, ...)
	local text = wire.pack(...)
	for id, slave in pairs(slaves) do
		if id ~= except then
			socket.write(slave.fd, text)
		end
	end
end

---------------------------------------------------------------------------------------------
-- Slaves come and go

-- The first package says who the slave is. Raises what is wrong with it.
local function handshake(fd)
	local kind, id, address = wire.read(fd)
	if kind ~= "H" then
		error("Invalid handshake type", 0)
	elseif math.type(id) ~= "integer" or id <= 0 or id > 255 then
		error("Invalid slave id " .. tostring(id), 0)
	elseif type(address) ~= "string" then
		error("Invalid slave address " .. tostring(address), 0)
	elseif slaves[id] then
		error(("Slave %d already register on %s"):format(id, slaves[id].address), 0)
	end
	return id, address
end

local function join(id, fd, address)
	local others = 0
	for _ in pairs(slaves) do
		others = others + 1
	end
	slaves[id] = { fd = fd, address = address }
	socket.write(fd, wire.pack("W", others))
	broadcast(id, "C", id, address)
	skynet.error(("Harbor %d (fd=%d) report %s"):format(id, fd, address))
end

local function leave(id)
	slaves[id] = nil
	for name, handle in pairs(names) do
		if harbor_of(handle) == id then
			names[name] = nil
			name_count = name_count - 1
		end
	end
	skynet.error(("slave %d is down"):format(id))
	broadcast(id, "D", id)
end

---------------------------------------------------------------------------------------------
-- What slaves ask

local command = {}

-- The first who registers a name has it; who comes later is told.
function command.R(slave, name, handle)
	if not wire.is_name(name, handle) then
		skynet.error(("Invalid global name %s (handle %s)"):format(name, handle))
		return
	end
	local first = names[name]
	if first and first ~= handle then
		skynet.error(("The global name %s of :%08x is registered already, by :%08x"):format(name,
			handle, first))
		socket.write(slave.fd, wire.pack("N", name, first))
		return
	elseif not first then
		if name_count >= MAX_NAMES then
			skynet.error(("Too many global names: %s of :%08x isn't registered"):format(name, handle))
			return
		end
		names[name] = handle
		name_count = name_count + 1
	end
	broadcast(nil, "N", name, handle)
end

function command.Q(slave, name)
	local handle = names[name]
	if handle then
		socket.write(slave.fd, wire.pack("N", name, handle))
	end
end

local function serve(id, slave)
	local function handle(kind, ...)
		if kind == nil then
			return false
		end
		local f = command[kind]
		if not f then
			error("Invalid slave message type " .. tostring(kind), 0)
		end
		f(slave, ...)
		return true
	end
	local ok, err = pcall(function()
		while handle(wire.read(slave.fd)) do end -- luacheck: ignore
	end)
	if not ok then
		skynet.error(("disconnect fd = %d, error = %s"):format(slave.fd, err))
	end
	leave(id)
end

---------------------------------------------------------------------------------------------
-- Connections

local function talk(fd)
	handshakes = handshakes + 1
	local done = wire.limit(fd, HANDSHAKE_LIMIT)
	local ok, id, address = pcall(handshake, fd)
	done()
	handshakes = handshakes - 1
	if not ok then
		skynet.error(("disconnect fd = %d, error = %s"):format(fd, id))
		return
	end
	socket.warning(fd, function(_, kilobytes)
		if kilobytes > MAX_UNSENT then
			skynet.error(("slave %d doesn't read: %d K wait for it"):format(id, kilobytes))
			socket.shutdown(fd)
		end
	end)
	join(id, fd, address)
	serve(id, slaves[id])
end

local function connected(fd, from)
	skynet.error(("connect from %s %d"):format(from, fd))
	if handshakes >= MAX_HANDSHAKES then
		skynet.error(("disconnect fd = %d, error = Too many connections"):format(fd))
		socket.close_fd(fd)
		return
	end
	if not socket.start(fd) then
		return
	end
	socket.limit(fd, 64 * 1024)
	talk(fd)
	socket.close(fd)
end

skynet.start(function()
	local address = assert(skynet.getenv "standalone", "the harbor master needs standalone = "
		.. "\"ip:port\", the address to listen on")
	skynet.error("master listen socket " .. address)
	local fd = socket.listen(address)
	socket.start(fd, connected)
end)
