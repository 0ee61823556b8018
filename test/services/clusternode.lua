--- One node of a cluster under test: registers "echo", listens, and takes orders as lines of text
--- on standard input: "reload node address", "call node address cmd args...", ...

local skynet = require "skynet"
local cluster = require "skynet.cluster"
local take_orders = require "take_orders"
require "skynet.manager"

local function show(...)
	local values = table.pack(...)
	for i = 1, values.n do
		values[i] = tostring(values[i])
	end
	print(table.concat(values, " "))
	io.stdout:flush()
end

local orders = {}

function orders.reload(name, address)
	if address == "true" or address == "false" then
		cluster.reload { [name] = address == "true" }
	else
		cluster.reload { [name] = address }
	end
	show("reloaded", name)
end

function orders.call(tag, name, address, ...)
	show("result", tag, pcall(cluster.call, name, tonumber(address) or address, ...))
end

function orders.send(name, address, ...)
	cluster.send(name, address, ...)
	show "sent"
end

function orders.query(name, what)
	show("query", pcall(cluster.query, name, what))
end

function orders.proxy(what, ...)
	local p = cluster.proxy(what)
	show("proxy", skynet.call(p, "lua", ...))
end

function orders.big(name, size)
	local data = ("z"):rep(tonumber(size))
	show("big", cluster.call(name, "@echo", "echo", data) == data)
end

function orders.many(name, n)
	n = tonumber(n)
	local ok, left = 0, n
	local co = coroutine.running()
	for i = 1, n do
		skynet.fork(function()
			local good, v = pcall(cluster.call, name, "@echo", "echo", i)
			if good and v == i then
				ok = ok + 1
			end
			left = left - 1
			if left == 0 then
				skynet.wakeup(co)
			end
		end)
	end
	skynet.wait(co)
	show("many", ok)
end

--- Move a node to and fro, and call it right after each move: how often did that work?
function orders.hop(name, n, ...)
	local ok = 0
	for i = 1, tonumber(n) do
		cluster.reload { [name] = (select(i % 2 + 1, ...)) }
		ok = ok + (pcall(cluster.call, name, "@echo", "echo", i) and 1 or 0)
	end
	show("hop", ok)
end

function orders.memory()
	show("memory", collectgarbage "count")
end

function orders.abort()
	skynet.abort()
end

skynet.start(function()
	local echo = skynet.newservice "echo"
	cluster.register("echo", echo)
	local _, port = cluster.open(0)
	show("port", port)
	skynet.fork(take_orders, orders, function(_, err)
		show("error", err)
	end)
end)
