--- The accepting end of one cluster link: see lualib-src/cluster_serve.c, which carries requests
--- and answers. Here: looking names up, and the end of the link.

local core = require "skynet.core"
local cluster = require "skynet.cluster.core"
local driver = require "skynet.socketdriver"
local skynet = require "skynet"
require "skynet.manager"

local clusterd, gate, fd = ...
clusterd, gate, fd = tonumber(clusterd), tonumber(gate), tonumber(fd)

local function number(key, default)
	return tonumber(skynet.getenv(key) or default)
end

local server

-- Runs for a name that isn't known yet; requests for it wait.
local function lookup(name)
	skynet.timeout(0, function()
		local ok, handle = pcall(skynet.call, clusterd, "lua", "queryname", name)
		server:resolved(name, ok and handle or nil)
	end)
end

local function broken(reason)
	skynet.error(("cluster: peer of fd %d broke the protocol, the link is closed: %s"):format(
		fd, reason))
	driver.close(fd)
end

local function peer()
	for _, info in ipairs(driver.info()) do
		if info.id == fd then
			return info.peer
		end
	end
end

-- Requests of the peer that services of this node handle, for the debug command WAITS.
local function pending_requests()
	local list, from = {}, peer()
	for i, request in ipairs(server:pending()) do
		list[i] = { id = "link session " .. request.wire, kind = "link", since = request.since,
			to = request.to, session = request.session,
			from = ("node at %s (link session %d)"):format(from, request.wire) }
	end
	return list
end

local command = {}

function command.exit()
	driver.close(fd)
	skynet.exit()
end

function command.namechange()
	server:namechange()
end

-- The peer's machine may vanish without a word: find out when it's silent.
local function watch_peer()
	local interval = number("cluster_heartbeat", 10)
	interval = interval > 0 and math.ceil(interval) or 10
	driver.keepalive(fd, 3 * interval, interval, 3, 6 * interval * 1000)
end

local function start()
	local callback
	server, callback = cluster.server({
		fd = fd,
		max_message = number("cluster_max_message", 1024) * 1024 * 1024,
		max_partial = number("cluster_max_partial", 1024),
		partial_time = number("cluster_partial_time", 300) * 100,
		harbor = number("harbor", 0) == 0 and 0 or 1,
	}, skynet.dispatch_message, lookup, broken)
	core.callback(callback)
	require "skynet.debug".reg_waits(pending_requests)
	skynet.dispatch("lua", function(_, source, cmd)
		local f = command[cmd]
		if f then
			f()
		else
			skynet.error(("Invalid command %s from %s"):format(tostring(cmd),
				skynet.address(source)))
		end
	end)
	-- the connection may be gone by now; then the gate knows it no more
	local ok, how = pcall(skynet.call, gate, "lua", "forward", fd, 0, skynet.self(), "raw")
	if ok and how == "raw" then
		server:raw() -- the answer overtakes nothing: what the gate sends comes after it
	end
	watch_peer()
end

skynet.start(start)
