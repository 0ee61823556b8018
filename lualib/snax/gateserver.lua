--- The frame of a gate: listens, accepts, cuts the stream into frames of a 16-bit length, and
--- calls a handler.
--
-- A client is in `clients` from its connection to closeclient: as "waiting" until openclient,
-- then "open", and "ended" once its CLOSE came.

local driver = require "skynet.socketdriver"
local netpack = require "skynet.netpack"
local skynet = require "skynet"

local gateserver = {}

local clients = {} -- fd -> "waiting" | "open" | "ended"
local refused = {} -- fd of a client too many -> true, until its CLOSE
local ended = {} -- fd of a client whose peer has gone -> when, in centiseconds
local sweeping = false -- somebody looks after `ended`
local watching = false -- somebody looks after half frames
local closing = {} -- fd of a former listener -> true, until its CLOSE
local listener = { accepted = 0 }
local frames -- netpack's queue

local DEFAULT_LINGER = 6000 -- centiseconds

--- Start reading from a client.
---@param fd integer
---@param raw boolean|nil  true: the handler gets what arrives as it arrives, instead of frames
function gateserver.openclient(fd, raw)
	if clients[fd] == "waiting" or clients[fd] == "open" then
		clients[fd] = "open"
		if raw then
			frames = netpack.raw(frames, fd)
		end
		driver.start(fd)
	end
end

--- Close a client; also needed after the peer has closed.
---@param fd integer
function gateserver.closeclient(fd)
	if clients[fd] then
		clients[fd] = nil
		ended[fd] = nil
		driver.close(fd)
	end
end

-- Close clients that began a frame and don't end it.
local function watch_frames()
	local limit = listener.frame_time
	watching = limit ~= nil and (listener.fd ~= nil or listener.accepted > 0)
	if not watching then
		return
	end
	for _, fd in ipairs(netpack.late(frames, limit)) do
		if clients[fd] == "open" then
			skynet.error(("gateserver: fd (%d) didn't finish a frame within %g seconds: closed")
				:format(fd, limit / 100))
			clients[fd] = "ended" -- what is still on its way would be taken for a new frame
			driver.shutdown(fd)
		end
	end
	skynet.timeout(limit // 2 + 1, watch_frames)
end

local function listen(conf)
	assert(listener.fd == nil, "the gate was opened already")
	local frame_time = conf.frame_time
	assert(frame_time == nil or math.type(frame_time) == "integer" and frame_time > 0,
		"frame_time: an integer of centiseconds, 1 or more, expected")
	local address, port = conf.address or "0.0.0.0", conf.port
	skynet.error("Listen on " .. address .. (port and " " .. port or ""))
	listener.max = conf.maxclient or 1024
	listener.nodelay = conf.nodelay
	listener.linger = conf.linger or DEFAULT_LINGER
	listener.fd = driver.listen(address, port, conf.backlog)
	listener.opener = coroutine.running()
	skynet.wait(listener.opener)
	listener.opener = nil
	if listener.failure then
		local text = listener.failure
		listener.fd, listener.failure = nil, nil
		error(text)
	end
	conf.address, conf.port = listener.ip, listener.port
	driver.start(listener.fd)
	if frame_time and listener.frame_time == nil then
		require "skynet.debug".reg_stat(function()
			return { half = netpack.unfinished(frames), frame_time = listener.frame_time }
		end)
	end
	listener.frame_time = frame_time
	if frame_time and not watching then
		watching = true
		skynet.timeout(frame_time // 2 + 1, watch_frames)
	end
end

-- A peer has gone and its handler keeps the descriptor, maybe to write what is left. One that
-- forgets to close it loses it after a while.
local function sweep()
	local now, waiting = skynet.now(), false
	for fd, since in pairs(ended) do
		if clients[fd] == nil then
			ended[fd] = nil
		elseif now - since >= listener.linger then
			gateserver.closeclient(fd)
		else
			waiting = true
		end
	end
	sweeping = waiting
	if waiting then
		skynet.timeout(listener.linger // 2 + 1, sweep)
	end
end

local function linger(fd)
	clients[fd] = "ended"
	ended[fd] = skynet.now()
	if not sweeping then
		sweeping = true
		skynet.timeout(listener.linger // 2 + 1, sweep)
	end
end

-- Commands every gate understands.
local function control(handler)
	return {
		open = function(source, conf)
			listen(conf)
			if handler.open then
				return handler.open(source, conf)
			end
		end,
		close = function()
			driver.close(assert(listener.fd, "the gate isn't open"))
			closing[listener.fd] = true
			listener.fd = nil
		end,
	}
end

local function events(handler)
	local on = {}
	local function ignore() end
	local disconnect, failed = handler.disconnect or ignore, handler.error or ignore

	function on.init(fd, ip, port)
		if listener.opener and fd == listener.fd then
			listener.ip, listener.port = ip, port
			skynet.wakeup(listener.opener)
		end
	end

	function on.data(fd, msg, sz)
		if clients[fd] == "open" then
			handler.message(fd, msg, sz)
		else
			skynet.error(("Drop message from fd (%d) : %s"):format(fd, netpack.tostring(msg, sz)))
		end
	end

	function on.more()
		local fd, msg, sz = netpack.pop(frames)
		if fd then
			-- should the handler block, the rest goes on in this fork
			skynet.fork(on.more)
			repeat
				on.data(fd, msg, sz)
				fd, msg, sz = netpack.pop(frames)
			until not fd
		end
	end

	function on.open(fd, from)
		listener.accepted = listener.accepted + 1
		if listener.accepted >= listener.max then
			refused[fd] = true
			driver.shutdown(fd)
			return
		end
		if listener.nodelay then
			driver.nodelay(fd)
		end
		clients[fd] = "waiting"
		handler.connect(fd, from)
	end

	function on.close(fd)
		if fd == listener.fd or closing[fd] then
			closing[fd] = nil
			return
		end
		listener.accepted = listener.accepted - 1
		if refused[fd] then
			refused[fd] = nil
			return
		end
		if clients[fd] then
			linger(fd)
		end
		disconnect(fd)
	end

	function on.error(fd, text)
		if fd ~= listener.fd then
			driver.shutdown(fd)
			if not refused[fd] and not closing[fd] then
				failed(fd, text)
			end
		elseif listener.opener then
			listener.failure = text
			skynet.wakeup(listener.opener)
		else
			skynet.error("gateserver accept error:", text)
		end
	end

	on.warning = handler.warning or ignore
	return on
end

--- Run a gate. The handler needs connect(fd, addr) and message(fd, msg, sz), and may have
--- disconnect(fd), error(fd, text), warning(fd, kilobytes), open(source, conf),
--- command(cmd, source, ...); embed = true leaves starting the service to the caller.
--- The lua command open(conf) takes address ("0.0.0.0"), port, maxclient (1024), nodelay, backlog
--- (32) and linger: how long, in centiseconds, a client whose peer has closed is kept for a
--- closeclient (6,000); and frame_time: how long, in centiseconds, a client may take from the first
--- byte of a frame to its last (as long as it likes), before it's closed, with a line in the log.
---@param handler table
function gateserver.start(handler)
	assert(handler.message, "a gate's handler needs message(fd, msg, sz)")
	assert(handler.connect, "a gate's handler needs connect(fd, addr)")
	local on, commands = events(handler), control(handler)

	skynet.register_protocol {
		name = "socket",
		id = skynet.PTYPE_SOCKET,
		unpack = function(msg, sz)
			return netpack.filter(frames, msg, sz)
		end,
		dispatch = function(_, _, queue, event, ...)
			frames = queue
			if event then
				on[event](...)
			end
		end,
	}

	local function serve()
		skynet.dispatch("lua", function(_, source, cmd, ...)
			local f = commands[cmd]
			if f then
				skynet.retpack(f(source, ...))
			else
				skynet.retpack(handler.command(cmd, source, ...))
			end
		end)
	end

	if handler.embed then
		serve()
	else
		skynet.start(serve)
	end
end

return gateserver
