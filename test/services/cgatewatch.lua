--- Watchdog of a C gate under test. Arguments: header style, maximum of connections, "none" for a
--- gate without a watchdog. Clients order by frames: see `order`; what else they send comes back.

local skynet = require "skynet"
local socket = require "skynet.socket"
require "skynet.manager"

local style, max, mode = ...
local gate
local pattern = style == "S" and ">s2" or ">s4"

skynet.register_protocol { name = "client", id = skynet.PTYPE_CLIENT, unpack = skynet.tostring,
	pack = function(text) return text end }

local function control(...)
	skynet.send(gate, "text", table.concat({ ... }, " "))
end

-- By way of the gate: body and id.
local function write(fd, body)
	skynet.send(gate, "client", pattern:pack(body) .. ("<I4"):pack(fd))
end

local order = {}

function order.agent(fd)
	control("forward", fd, skynet.address(skynet.self()), ":4321")
	write(fd, "forwarded")
end

function order.broker(fd)
	skynet.register ".broker"
	control("broker", ".broker")
	write(fd, "brokered")
end

function order.unbroker(fd)
	control "broker"
	write(fd, "unbrokered")
end

function order.kick(fd)
	control("kick", fd)
end

function order.close(fd)
	control "close"
	write(fd, "closed")
end

function order.bad(fd)
	control "nonsense 1 2"
	control ""
	control "kick"
	control("kick", 99999)
	control("kick", "99999999999999999999")
	control("forward", 99999, ":1", ":2")
	control "start x"
	skynet.send(gate, "client", "abc")
	skynet.send(gate, "client", "hello\xff\xff\xff\xff")
	skynet.send(gate, "client", "hello\x77\x77\x00\x00")
	write(fd, "survived")
end

function order.flood(fd)
	-- frames may go out together
	skynet.send(gate, "client", pattern:pack(("x"):rep(60000)):rep(200) .. ("<I4"):pack(fd))
end

skynet.dispatch("client", function(fd, source, text)
	skynet.ignoreret()
	if text == "unbroker" then
		order.unbroker(fd)
	else
		write(fd, ("client %s %s"):format(text, source == gate and "gate" or ("%x"):format(source)))
	end
end)

local event = {}

function event.open(fd, rest)
	print("open " .. fd .. " " .. rest)
	control("start", fd)
end

function event.data(fd, text, session)
	assert(session == fd)
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

skynet.register_protocol {
	name = "text",
	id = skynet.PTYPE_TEXT,
	pack = function(text) return text end,
	unpack = skynet.tostring,
	dispatch = function(session, _, text)
		skynet.ignoreret()
		local fd, what, rest = text:match "^(%d+) (%a+) ?(.*)$"
		event[what](tonumber(fd), rest, session)
	end,
}

-- The C gate has no port 0: find a free one.
local function launch(watchdog)
	for _ = 1, 50 do
		local id, _, port = socket.listen("127.0.0.1", 0)
		socket.close(id)
		gate = skynet.launch("gate", style, watchdog, "127.0.0.1:" .. port, 0, max)
		if gate then
			return port
		end
	end
end

local function refuse(...)
	assert(skynet.launch("gate", ...) == nil)
end

skynet.start(function()
	io.stdout:setvbuf "line"
	if mode == "refuse" then
		refuse()
		refuse "S"
		refuse("S", "!", "127.0.0.1:1", "x", 10)
		refuse("S", "!", "127.0.0.1:1", 0)
		refuse("S", "!", "127.0.0.1:1", 0, -1)
		refuse("X", "!", "127.0.0.1:1", 0, 10)
		refuse("S", ".nobody", "127.0.0.1:1", 0, 10)
		refuse("S", "!", "127.0.0.1:0", 0, 10)
		refuse("S", "!", "127.0.0.1:x", 0, 10)
		refuse("S", "!", "127.0.0.1:99999", 0, 10)
		refuse("S", "!", "8.8.8.8:1", 0, 10)
		print "refused"
		return
	end
	local port = launch(mode == "none" and "!" or skynet.address(skynet.self()))
	print("listening at port " .. port)
end)
