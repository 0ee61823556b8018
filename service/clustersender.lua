--- The dialling end of one cluster link: see lualib-src/cluster_send.c, which carries requests
--- and answers. Here: the state of the link.
--
-- A link is down, dialling or up. A request that finds it down makes it dial, once; requests
-- that come meanwhile share the attempt. After a failed attempt the next one waits for a moment
-- that grows with each failure (up to 0.2 seconds), so that a dead peer isn't dialled for every
-- message. A peer that is silent while calls wait for it is pinged, with a query every
-- node answers; when it stays silent the link is given up, and all calls on it fail.

local core = require "skynet.core"
local cluster = require "skynet.cluster.core"
local driver = require "skynet.socketdriver"
local skynet = require "skynet"
local socket = require "skynet.socket"

local node, nodename, address = ...

local function number(key, default)
	return tonumber(skynet.getenv(key) or default)
end

-- seconds of silence before a ping, and again until the link is given up; 0: never
local heartbeat = number("cluster_heartbeat", 10)
local max_message = number("cluster_max_message", 1024) * 1024 * 1024
-- calls that may wait for this node, with what waits for the link; 0: any number
local max_pending = math.max(number("cluster_max_pending", 0), 0)
-- seconds that dialling may take; 0: as long as the system tries
local connect_limit = number("cluster_connect_timeout", 10)

local sender
local link = { fd = nil, generation = 0, failures = 0, blocked_until = 0 }
local waiting_for_dial = {} -- coroutines that wait for the attempt under way
local dial_link

local function close_link(reason)
	local fd = link.fd
	link.fd = nil
	link.generation = link.generation + 1
	sender:fail(reason)
	if fd then
		socket.onclose(fd, nil)
		skynet.fork(socket.close, fd)
	end
end

-- Watch a link while it stands: is the peer still answering?
local function watch(generation)
	if link.generation ~= generation or heartbeat <= 0 then
		return
	end
	local pending, _, silent = sender:state()
	local limit = heartbeat * 100
	if pending == 0 or silent < limit then
		link.pinged = nil
	elseif not link.pinged then
		link.pinged = true
		sender:ping()
	elseif silent >= 2 * limit then
		skynet.error(("cluster node %s (%s) is silent for %d seconds: the link is given up"):format(
			node, address, silent // 100))
		close_link(("cluster node %s doesn't answer"):format(node))
		return
	end
	skynet.timeout(math.max(limit // 4, 10), function()
		watch(generation)
	end)
end

local function link_up(fd)
	link.fd = fd
	link.failures = 0
	link.blocked_until = 0
	link.generation = link.generation + 1
	link.pinged = nil
	local interval = heartbeat > 0 and math.ceil(heartbeat) or 10
	driver.keepalive(fd, 3 * interval, interval, 3, 0)
	socket.onclose(fd, function()
		if link.fd == fd then
			skynet.error(("cluster link to %s (%s) is lost"):format(node, address))
			close_link "[Error: socket]"
		end
	end)
	sender:up(fd)
	watch(link.generation)
end

-- After a failure, wait a while before the next attempt: longer each time, never the same for all.
local function back_off()
	link.failures = link.failures + 1
	local longest = math.min(20, 2 ^ link.failures)
	link.blocked_until = skynet.now() + math.floor(longest * (0.5 + math.random() / 2))
end

-- One attempt. Returns the socket's id, or nil and why.
local function attempt(target)
	local ok, fd, err = pcall(socket.open, target, nil,
		connect_limit > 0 and connect_limit * 100 or nil)
	if not ok then
		return nil, fd
	end
	return fd, err
end

local function finish_dial(ok)
	local list = waiting_for_dial
	waiting_for_dial = {}
	link.dialling = nil
	for _, co in ipairs(list) do
		skynet.wakeup(co)
	end
	return ok
end

-- Bring the link up; shared by all who want it. Returns whether it stands.
function dial_link()
	if link.fd then
		return true
	end
	if link.dialling then
		waiting_for_dial[#waiting_for_dial + 1] = coroutine.running()
		skynet.wait()
		return link.fd ~= nil
	end
	link.dialling = true
	local target, generation, fd, err
	repeat
		if fd then
			socket.close(fd)
		end
		target, generation = address, link.generation
		if not target then
			sender:fail "assertion failed!"
			return finish_dial(false)
		end
		fd, err = attempt(target)
	until link.generation == generation and address == target -- else it was re-pointed meanwhile
	if fd then
		link_up(fd)
		return finish_dial(true)
	end
	skynet.error("Connect failed", err, target)
	back_off()
	sender:fail "[Error: socket]"
	return finish_dial(false)
end

-- A request found the link down.
local function want_link()
	if link.dialling then
		return -- it will be served with the attempt under way
	end
	skynet.timeout(link.blocked_until - skynet.now(), dial_link)
end

local function broken(reason)
	skynet.error(("cluster node %s (%s): %s"):format(node, tostring(address), reason))
	close_link(reason)
end

local command = {}

-- The slow way for requests: traced ones announce their tag on the wire first.
local function traced_request(tag, addr, msg, sz, session, source)
	if tag:sub(1, 1) ~= "(" then
		local _, _, _, wire = sender:state()
		local newtag = ("(%s-%s-%d)%s"):format(nodename, node, wire, tag)
		skynet.tracelog(tag, ("session %s"):format(newtag))
		tag = newtag
	end
	skynet.tracelog(tag, ("cluster %s"):format(node))
	if dial_link() then
		socket.write(link.fd, cluster.packtrace(tag))
	end
	sender:request(addr, false, msg, sz, source, session)
end

function command.req(session, source, addr, msg, sz)
	skynet.ignoreret()
	local tag = skynet.tracetag()
	if tag then
		traced_request(tag, addr, msg, sz, session, source)
	else
		sender:request(addr, false, msg, sz, source, session)
	end
end

--- Point the link at another address (string), or take it down (false).
function command.changenode(_, _, target)
	address = target
	link.blocked_until = 0
	link.failures = 0
	if link.fd then
		if not target then
			skynet.error(("Close cluster sender %s"):format(node))
		end
		close_link "[Error: socket]"
	elseif link.dialling then
		link.generation = link.generation + 1
	end
	if target and not dial_link() then
		error "[Error: socket]"
	end
	skynet.retpack(nil)
end

-- What waits on this link, for the debug command WAITS.
local function pending_calls()
	local list = {}
	for i, call in ipairs(sender:pending()) do
		list[i] = { id = "link session " .. call.wire, kind = "cluster", since = call.since,
			source = call.source, request = call.request,
			text = ("node %s, %s (link session %d)"):format(node, skynet.address(call.to), call.wire) }
	end
	return list
end

-- How near the limit is, for the debug command STAT.
local function pending_stat()
	local called, _, _, _, queued = sender:state()
	return { pending = called + queued, max_pending = max_pending }
end

skynet.start(function()
	local callback
	sender, callback = cluster.sender(skynet.dispatch_message, want_link, broken, max_message, max_pending)
	core.callback(callback)
	local debug_protocol = require "skynet.debug"
	debug_protocol.reg_waits(pending_calls)
	if max_pending > 0 then
		debug_protocol.reg_stat(pending_stat)
	end
	skynet.dispatch("lua", function(session, source, cmd, ...)
		local f = assert(command[cmd])
		f(session, source, ...)
	end)
end)
