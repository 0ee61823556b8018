--- Watchdog of a Lua gate under test. Arguments: maxclient, linger, frame_time. It never kicks on
--- its own. What a client sends while the watchdog gets its frames decides: "agent" forwards it to
--- an agent, "self" to this service with a source of its own, "kick" closes it, "flood" sends it
--- frames it may never read; anything else comes back.

local skynet = require "skynet"
local socketdriver = require "skynet.socketdriver"

local maxclient, linger, frame_time = ...
maxclient = tonumber(maxclient) or 64
local gate
local source_ok

local function write(fd, body)
	socketdriver.send(fd, string.pack(">s2", body))
end

-- "agent 5": an agent of its own for fd 5
if (...) == "agent" then
	local _, gate_handle, fd = ...
	fd = tonumber(fd)
	skynet.register_protocol {
		name = "client",
		id = skynet.PTYPE_CLIENT,
		unpack = skynet.tostring,
		dispatch = function(session, source, text)
			assert(session == fd)
			skynet.ignoreret()
			if text == "slow" then
				skynet.sleep(20)
			elseif text == "raise" then
				error "the agent raises"
			end
			write(fd, ("agent %s %s"):format(text, source == tonumber(gate_handle) and "gate" or source))
		end,
	}
	skynet.start(function()
		skynet.dispatch("lua", function()
			skynet.exit()
		end)
		skynet.call(tonumber(gate_handle), "lua", "forward", fd)
	end)
	return
end

skynet.register_protocol {
	name = "client",
	id = skynet.PTYPE_CLIENT,
	unpack = skynet.tostring,
	dispatch = function(fd, source, text)
		skynet.ignoreret()
		source_ok = source == 0x1234
		write(fd, ("self %s %s"):format(text, source_ok))
	end,
}

local order = {}

function order.agent(fd)
	skynet.newservice("gatewatch", "agent", gate, fd)
	write(fd, "forwarded")
end

function order.self(fd)
	skynet.call(gate, "lua", "forward", fd, 0x1234, skynet.self())
	write(fd, "forwarded")
end

function order.kick(fd)
	skynet.call(gate, "lua", "kick", fd)
end

function order.flood(fd)
	local block = ("x"):rep(60000)
	for _ = 1, 200 do
		write(fd, block)
	end
end

function order.close(fd)
	skynet.call(gate, "lua", "close")
	write(fd, "closed")
end

function order.reopen(fd)
	local _, port = skynet.call(gate, "lua", "open", { address = "127.0.0.1", port = 0 })
	print("port " .. port)
	write(fd, "port " .. port)
end

function order.twice(fd)
	write(fd, tostring(pcall(skynet.call, gate, "lua", "open", { address = "127.0.0.1", port = 0 })))
end

function order.unknown(fd)
	local ok = pcall(skynet.call, gate, "lua", "nosuch")
	local known = pcall(skynet.call, gate, "lua", "forward", 99999)
	skynet.call(gate, "lua", "kick", 99999)
	write(fd, tostring(ok) .. " " .. tostring(known))
end

local event = {}

function event.open(fd, from)
	print(("open %d %s"):format(fd, from))
	skynet.call(gate, "lua", "accept", fd)
end

function event.data(fd, text)
	local f = order[text]
	if f then
		f(fd)
	else
		write(fd, text)
	end
end

function event.close(fd)
	print("close " .. fd)
end

function event.error(fd, text)
	print("error " .. fd .. " " .. text)
end

function event.warning(fd, kilobytes)
	print("warning " .. fd .. " " .. kilobytes)
end

skynet.start(function()
	io.stdout:setvbuf "line"
	gate = skynet.newservice "gate"
	skynet.dispatch("lua", function(_, _, cmd, name, ...)
		assert(cmd == "socket")
		event[name](...)
	end)
	local ok = pcall(skynet.call, gate, "lua", "open", { address = "8.8.8.8", port = 1 })
	assert(not ok, "a gate can't listen there")
	local address, port = skynet.call(gate, "lua", "open", {
		address = "127.0.0.1",
		port = 0,
		maxclient = maxclient,
		nodelay = true,
		backlog = 1024,
		linger = tonumber(linger),
		frame_time = tonumber(frame_time),
	})
	print(("listening at %s port %d"):format(address, port))
end)
