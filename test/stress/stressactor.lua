--- An actor of a stress run: does things at random until the ledger says stop, and answers others.
--- Arguments: seed, number of slots, own node's number, number of nodes.

local skynet = require "skynet"
local cluster = require "skynet.cluster"
local multicast = require "skynet.multicast"
local queue = require "skynet.queue"
local sharetable = require "skynet.sharetable"
local socket = require "skynet.socket"
local ledger = require "ledger"
local cell = require "cells"
require "skynet.manager"

local seed, slots, here, nodes = ...
slots, here, nodes = tonumber(slots), tonumber(here), tonumber(nodes)
math.randomseed(tonumber(seed), skynet.self())
local random = math.random

local LEDGER = 14 -- a message type of its own, so that the kernel's drops can be counted

local pending, loops = 0, 0 -- calls of ours that haven't ended; coroutines that run
local outgoing, incoming = {}, {} -- per receiver, and per sender: the last number
local kept = {}
local linked = {} -- nodes this actor has reached

local function stopped()
	return ledger.get(cell.stop) == 1
end

local function some_actor()
	local address = ledger.get(cell.SLOTS + random(0, slots - 1))
	return address ~= 0 and address or nil
end

local function blob()
	return string.rep(string.char(random(0, 255)), random(0, 3) == 0 and random(100000) or random(100))
end

--- Call and count; `f` raises or returns what the other said.
local function counted(f, ...)
	pending = pending + 1
	ledger.add(cell.calls, 1)
	local result = table.pack(pcall(f, ...))
	pending = pending - 1
	if not result[1] then
		ledger.add(cell.failed, 1)
	end
	return table.unpack(result, 1, result.n)
end

local function wrong_unless(ok, what)
	if not ok then
		ledger.add(cell.wrong, 1)
		skynet.error("BROKEN wrong answer: " .. what)
	end
end

local function post(to, n)
	for _ = 1, n do
		local number = (outgoing[to] or 0) + 1
		-- counted first: it may be received before this goes on
		ledger.add(cell.sent, 1)
		if skynet.send(to, LEDGER, skynet.self(), number) then
			outgoing[to] = number
		else
			ledger.add(cell.sent, -1)
			return
		end
	end
end

local act = {}

function act.post()
	local to = some_actor()
	if to then
		post(to, 1)
	end
end

function act.flood()
	local to = some_actor()
	if to then
		post(to, random(3000))
	end
end

function act.echo()
	local to, text = some_actor(), blob()
	if to then
		local ok, back = counted(skynet.call, to, "lua", "echo", text)
		wrong_unless(not ok or back == text, "echo")
	end
end

function act.later()
	local to, n = some_actor(), random(1 << 30)
	if to then
		local ok, back = counted(skynet.call, to, "lua", "later", n)
		wrong_unless(not ok or back == n, "later")
	end
end

function act.keep()
	local to = some_actor()
	if to and to ~= skynet.self() then
		counted(skynet.call, to, "lua", "keep")
	end
end

function act.fail()
	local to = some_actor()
	if to then
		wrong_unless(not counted(skynet.call, to, "lua", "fail"), "an error was an answer")
	end
end

function act.nest()
	local to = some_actor()
	if to then
		counted(skynet.call, to, "lua", "nest", random(5))
	end
end

function act.choose()
	local request = skynet.request()
	local n = 0
	for _ = 1, random(5) do
		local to = some_actor()
		if to then
			request:add { to, "lua", "later", n }
			n = n + 1
		end
	end
	if n > 0 then
		counted(function()
			for _ in request:select(random(0, 20)) do
			end
		end)
	end
end

function act.sleepers()
	local token, woken = {}, false
	skynet.fork(function()
		skynet.sleep(random(0, 3))
		woken = true
		skynet.wakeup(token)
	end)
	skynet.wait(token)
	wrong_unless(woken, "a wait ended by itself")
end

function act.timers()
	local left, token = random(20), {}
	for _ = 1, left do
		skynet.timeout(random(0, 5), function()
			left = left - 1
			if left == 0 then
				skynet.wakeup(token)
			end
		end)
	end
	skynet.wait(token)
end

function act.queue()
	local cs, inside, token, left = queue(), false, {}, 3
	for _ = 1, left do
		skynet.fork(cs, function()
			wrong_unless(not inside, "two in a critical section")
			inside = true
			skynet.sleep(random(0, 2))
			inside = false
			left = left - 1
			if left == 0 then
				skynet.wakeup(token)
			end
		end)
	end
	skynet.wait(token)
end

function act.child()
	local child = skynet.newservice("stresschild")
	local ok, back = counted(skynet.call, child, "lua", "hello")
	wrong_unless(not ok or back == "hello", "child")
	local how = random(3)
	if how == 1 then
		skynet.kill(child)
	elseif how == 2 then
		skynet.send(child, "lua", "exit")
	else
		counted(skynet.call, child, "lua", "die")
	end
end

function act.kill()
	if random(20) > 1 then
		return
	end
	local slot = cell.SLOTS + random(0, slots - 1)
	local victim = ledger.get(slot)
	if victim ~= 0 and victim ~= skynet.self() and ledger.set(slot, 0) == victim then
		post(victim, random(0, 300)) -- some die with it
		skynet.kill(victim)
	end
end

function act.leave()
	if random(40) > 1 then
		return
	end
	for i = 0, slots - 1 do
		if ledger.get(cell.SLOTS + i) == skynet.self() then
			ledger.set(cell.SLOTS + i, 0)
			skynet.exit()
		end
	end
end

function act.socket()
	local id = socket.open("127.0.0.1", ledger.get(cell.port))
	if not id then
		return
	end
	local text = blob()
	local how = random(4)
	if how < 3 then
		socket.write(id, string.pack("<I4", #text) .. text)
		local back = socket.read(id, #text)
		wrong_unless(back == text, "socket echo")
		ledger.add(cell.echoed, #text)
	elseif how == 3 then -- lies about the length, and goes
		socket.write(id, string.pack("<I4", #text + 10) .. text)
	else -- never reads
		socket.write(id, string.pack("<I4", #text) .. text)
		skynet.sleep(random(0, 3))
	end
	socket.close(id)
end

local function other_node()
	local n = random(1, nodes)
	return n ~= here and n or nil
end

function act.cluster()
	local n, text = other_node(), blob()
	if n then
		local ok, back = counted(cluster.call, "node" .. n, "@stress", "echo", text)
		if ok then
			wrong_unless(back == text, "cluster echo")
			ledger.add(cell.remote, 1)
		elseif skynet.call(".stress", "lua", "untouched", n) then
			ledger.add(cell.lonely, 1)
			skynet.error("BROKEN a cluster call failed: " .. tostring(back))
		end
	end
end

function act.cluster_post()
	local n = other_node()
	local key = n and "node" .. n
	-- until the link's service is known sends wait here, and end with this actor
	if not n or not linked[n] and not counted(cluster.call, key, "@stress", "echo", "") then
		return
	end
	linked[n] = true
	for _ = 1, random(20) do
		local number = (outgoing[key] or 0) + 1
		outgoing[key] = number
		ledger.add(cell.TO + n, 1)
		cluster.send(key, "@stress", "number", here, ("%d.%d:%x"):format(here, skynet.getenv "incarnation",
			skynet.self()), number)
	end
end

function act.multicast()
	local got, token, want = 0, {}, random(5)
	local channel = multicast.new {
		dispatch = function(_, _, n)
			got = got + 1
			wrong_unless(n == got, "multicast out of order")
			if got == want then
				skynet.wakeup(token)
			end
		end,
	}
	channel:subscribe()
	for i = 1, want do
		channel:publish(i)
		ledger.add(cell.published, 1)
	end
	if got < want then
		skynet.wait(token)
	end
	channel:unsubscribe()
	channel:delete()
end

function act.share()
	local t = sharetable.query "stress"
	wrong_unless(t and t.version == t.list[1] and t.version == t.list[#t.list], "a shared table is torn")
	if random(10) == 1 then
		local version, list = random(1 << 40), {}
		for i = 1, random(100) do
			list[i] = version
		end
		sharetable.loadtable("stress", { version = version, list = list })
	end
	if random(10) == 1 then
		skynet.cache.clear()
	end
end

function act.garbage()
	local list = {}
	for i = 1, random(200) do
		list[i] = { coroutine.create(skynet.yield), blob() }
		if i % 20 == 0 then
			skynet.yield()
		end
	end
	return list
end

local names, weight = {}, {
	flood = 1, child = 1, kill = 1, leave = 1, garbage = 1, multicast = 2, share = 2, keep = 1,
	post = 20, echo = 20, cluster = 8, cluster_post = 4, socket = 6,
}
local only = skynet.getenv "only" -- to find out which action does what
for name in pairs(only and {} or act) do
	for _ = 1, weight[name] or 4 do
		names[#names + 1] = name
	end
end
for name in (only or ""):gmatch "[%w_]+" do
	names[#names + 1] = name
end
table.sort(names) -- the same seed, the same plan

local function loop()
	loops = loops + 1
	while not stopped() do
		act[names[random(#names)]]()
		if random(4) == 1 then
			skynet.sleep(random(0, 2))
		end
	end
	loops = loops - 1
end

local serve = {}

function serve.echo(text)
	skynet.retpack(text)
end

function serve.later(n)
	local response = skynet.response()
	skynet.timeout(random(0, 5), function()
		response(true, n)
	end)
end

function serve.keep()
	kept[#kept + 1] = skynet.response()
	if #kept > 10 then
		table.remove(kept, 1)(random(2) == 1)
	end
end

function serve.fail()
	error "STRESS planned"
end

function serve.nest(depth)
	local to = depth > 0 and some_actor()
	if to and to ~= skynet.self() then
		skynet.retpack(counted(skynet.call, to, "lua", "nest", depth - 1))
	else
		skynet.retpack(true)
	end
end

--- The round is over: let those go who wait for us.
function serve.release()
	for i = #kept, 1, -1 do
		kept[i](false)
		kept[i] = nil
	end
	skynet.retpack()
end

--- What is still open here?
function serve.open()
	skynet.retpack(pending, loops)
end

skynet.register_protocol {
	name = "ledger",
	id = LEDGER,
	pack = skynet.pack,
	unpack = skynet.unpack,
	dispatch = function(_, _, sender, number)
		ledger.add(cell.received, 1)
		local last = incoming[sender] or 0
		if number ~= last + 1 then
			ledger.add(cell.disorder, 1)
			skynet.error(("BROKEN message %d of :%08x after %d"):format(number, sender, last))
		end
		incoming[sender] = number
	end,
}

skynet.start(function()
	skynet.dispatch("lua", function(_, _, what, ...)
		serve[what](...)
	end)
	for _ = 1, 4 do
		skynet.fork(loop)
	end
end)
