--- A node of a harbor network under test: registers a global name, answers requests, and takes
--- orders as lines of text on standard input. `harbornode [NAME]`
---
--- An address in an order is a number, a name, or "@name", the address the service of that name has.

local skynet = require "skynet"
local harbor = require "skynet.harbor"
local snax = require "skynet.snax"
local take_orders = require "take_orders"
require "skynet.manager"

local name = ...

local function show(...)
	local values = table.pack(...)
	for i = 1, values.n do
		values[i] = tostring(values[i])
	end
	print(table.concat(values, " "))
	io.stdout:flush()
end

local function address(text)
	return text:sub(1, 1) == "@" and harbor.queryname(text:sub(2)) or tonumber(text) or text
end

---------------------------------------------------------------------------------------------
-- What others ask

local command = {}

function command.ECHO(...)
	skynet.retpack(...)
end

function command.HANG()
	skynet.wait()
end

function command.BIG(size)
	skynet.retpack(("b"):rep(size))
end

function command.SIZE(text)
	skynet.retpack(#text)
end

function command.SAY(...)
	show("said", ...)
end

---------------------------------------------------------------------------------------------
-- Orders

local order = {}

function order.call(tag, to, ...)
	show("result", tag, pcall(skynet.call, address(to), "lua", ...))
end

function order.send(to, ...)
	skynet.send(address(to), "lua", ...)
end

-- A message whose every byte is known.
function order.hi(to, session)
	skynet.redirect(tonumber(to), skynet.self(), "lua", tonumber(session), skynet.pack("HI", 2))
	show "sent"
end

function order.large(to, size)
	show("large", pcall(skynet.call, address(to), "lua", "SIZE", ("x"):rep(tonumber(size))))
end

function order.query(what)
	show("query", what, pcall(harbor.queryname, what))
end

function order.register(what)
	skynet.register(what)
	show("registered", what)
end

function order.link(id)
	harbor.link(tonumber(id))
	show("link", id, "ended")
end

function order.connect(id)
	harbor.connect(tonumber(id))
	show("connect", id, "done")
end

function order.linkmaster()
	harbor.linkmaster()
	show "linkmaster ended"
end

function order.unique(service)
	show("unique", pcall(skynet.uniqueservice, true, service))
end

function order.keep(key, value)
	show("kept", key, require "skynet.datacenter".set("spec", key, value))
end

function order.recall(key)
	show("recalled", key, require "skynet.datacenter".get("spec", key))
end

function order.find(service)
	show("found", pcall(skynet.queryservice, true, service))
end

function order.global(service)
	show("global", snax.globalservice(service, true).handle)
end

function order.ping(service, text)
	show("pinged", snax.queryglobal(service).req.ping(text))
end

-- n calls at once.
function order.many(to, n)
	local target = address(to)
	local ok, left = 0, tonumber(n)
	local co = coroutine.running()
	for i = 1, left do
		skynet.fork(function()
			local good, v = pcall(skynet.call, target, "lua", "ECHO", i)
			ok = ok + (good and v == i and 1 or 0)
			left = left - 1
			if left == 0 then
				skynet.wakeup(co)
			end
		end)
	end
	skynet.wait(co)
	show("many", ok)
end

function order.abort()
	skynet.abort()
end

function order.list()
	local list = skynet.call(".service", "lua", "LIST")
	local keys = {}
	for key, value in pairs(list) do
		keys[#keys + 1] = key .. "=" .. value
	end
	table.sort(keys)
	show("list", table.concat(keys, ","))
end

function order.monitor(service)
	show("monitor", pcall(skynet.monitor, service))
end

function order.kill()
	local victim = skynet.newservice "echo"
	skynet.kill(victim)
	show("killed", victim)
end

skynet.start(function()
	skynet.dispatch("lua", function(_, _, cmd, ...)
		command[cmd](...)
	end)
	if name then
		skynet.register(name)
	end
	show("node is ready", skynet.self())
	skynet.fork(take_orders, order, function(what, err)
		show("error", what, err)
	end)
end)
