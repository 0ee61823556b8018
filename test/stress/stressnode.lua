--- A node of a stress run. Takes orders on standard input, a line each, and answers with a line:
---   names NODE=ADDRESS ...      where the other nodes are
---   untouched N ...             the nodes nobody disturbs in the coming round; counts start anew
---   round SECONDS SEED          let actors loose, end them, check the laws of one process
---   clean                       end what lives on between rounds, too, and count what is left
---   quit

local skynet = require "skynet"
local cluster = require "skynet.cluster"
local driver = require "skynet.socketdriver"
local ledger = require "ledger"
local memory = require "skynet.memory"
local sharetable = require "skynet.sharetable"
local socket = require "skynet.socket"
local cell = require "cells"
require "skynet.manager"

local here = tonumber(skynet.getenv "node")
local nodes = tonumber(skynet.getenv "nodes")
local slots = tonumber(skynet.getenv "actors")
local LIMIT = tonumber(skynet.getenv "limit") * 100 -- cs until what should happen counts as lost

local untouched, last, gaps = {}, {}, 0

local function say(...)
	print("STRESS " .. table.concat({ ... }, " "))
	io.stdout:flush()
end

--- Wait until `f` gives something true; false when it never does.
local function eventually(f)
	local deadline = skynet.now() + LIMIT
	repeat
		local v = f()
		if v then
			return v
		end
		skynet.sleep(2)
	until skynet.now() > deadline
	return false
end

local function broken(law, ...)
	local text = law:format(...)
	skynet.error("BROKEN " .. text)
	error({ law = text })
end

local pid -- of this process

local function descriptors()
	local p <close> = assert(io.popen("ls /proc/" .. pid .. "/fd | wc -l"))
	return p:read "n"
end

local function threads()
	for line in io.lines "/proc/self/status" do
		local n = line:match "^Threads:%s*(%d+)"
		if n then
			return tonumber(n)
		end
	end
end

local function services()
	local n = 0
	for _ in pairs(skynet.call(".launcher", "lua", "LIST")) do
		n = n + 1
	end
	return n
end

local function sockets()
	local n = 0
	for _, s in ipairs(driver.info()) do
		-- links to other nodes and from them come and go with these
		if s.type ~= "CLOSED" and not tostring(s.name or ""):find "^cluster" then
			n = n + 1
		end
	end
	return n
end

local born = 0

local function fill_slots(seed)
	for i = 0, slots - 1 do
		if ledger.get(cell.SLOTS + i) == 0 then
			born = born + 1
			local actor = skynet.newservice("stressactor", seed + i, slots, here, nodes)
			ledger.set(cell.SLOTS + i, actor)
		end
	end
end

local function actors()
	local list = {}
	for i = 0, slots - 1 do
		local actor = ledger.get(cell.SLOTS + i)
		if actor ~= 0 then
			list[#list + 1] = actor
		end
	end
	return list
end

local function open_of(actor)
	local ok, pending, loops = pcall(skynet.call, actor, "lua", "open")
	return ok and pending + loops or 0
end

--- Every call ends: what still waits when nobody acts any more is stranded.
local function settle()
	local worst
	local done = eventually(function()
		for _, actor in ipairs(actors()) do
			pcall(skynet.call, actor, "lua", "release")
		end
		worst = nil
		for _, actor in ipairs(actors()) do
			if open_of(actor) > 0 then
				worst = actor
			end
		end
		return worst == nil
	end)
	if not done then
		local ok, text = pcall(skynet.call, worst, "debug", "TASK")
		for session, where in pairs(ok and text or {}) do
			skynet.error(("BROKEN session %s of :%08x waits: %s"):format(session, worst, where))
		end
		broken("a call of :%08x never ended", worst)
	end
end

local function check_ledger()
	local function lost()
		return ledger.get(cell.sent) - ledger.get(cell.received) - ledger.get(cell.dropped)
	end
	if not eventually(function() return lost() == 0 end) then
		broken("sent %d = received %d + dropped %d doesn't hold", ledger.get(cell.sent),
			ledger.get(cell.received), ledger.get(cell.dropped))
	end
	for _, name in ipairs { "disorder", "wrong", "lonely" } do
		if ledger.get(cell[name]) > 0 then
			broken("%s: %d", name, ledger.get(cell[name]))
		end
	end
end

local function end_actors()
	for i = 0, slots - 1 do
		local actor = ledger.set(cell.SLOTS + i, 0)
		if actor ~= 0 then
			skynet.kill(actor)
		end
	end
end

local base

local function left_over()
	return { services = services(), descriptors = descriptors(), sockets = sockets(), threads = threads() }
end

--- What was there at the start is there at the end, and nothing else.
local function check_rest()
	local now
	local same = eventually(function()
		now = left_over()
		for what, n in pairs(now) do
			if n > base[what] then
				return false
			end
		end
		return true
	end)
	if not same then
		for _, s in ipairs(driver.info()) do
			skynet.error(("BROKEN socket %d %s %s peer %s owner :%08x"):format(s.id, s.type, tostring(s.name),
				tostring(s.peer), s.address))
		end
		for what, n in pairs(now) do
			if n > base[what] then
				broken("%s: %d at the start, %d now", what, base[what], n)
			end
		end
	end
end

local order = {}

function order.names(...)
	local names = {}
	for _, pair in ipairs { ... } do
		local name, address = pair:match "(.-)=(.*)"
		names[name] = address
	end
	cluster.reload(names)
	say "named"
end

function order.untouched(...)
	untouched = {}
	for _, n in ipairs { ... } do
		untouched[tonumber(n)] = true
	end
	for i = 1, nodes do
		ledger.set(cell.TO + i, 0)
		ledger.set(cell.FROM + i, 0)
	end
	last, gaps = {}, 0
	say "noted"
end

function order.round(seconds, seed)
	ledger.set(cell.stop, 0)
	local deadline = skynet.now() + tonumber(seconds) * 100
	while skynet.now() < deadline do
		fill_slots(tonumber(seed) * 1000)
		skynet.sleep(2)
	end
	ledger.set(cell.stop, 1)
	settle()
	check_ledger()
	say("settled")
end

--- How many cluster sends went to each node and came from each: the driver compares.
function order.sends()
	local out = {}
	for i = 1, nodes do
		out[#out + 1] = ("%d:%d:%d"):format(i, ledger.get(cell.TO + i), ledger.get(cell.FROM + i))
	end
	say("sends", table.concat(out, " "))
end

function order.clean()
	end_actors()
	check_rest()
	-- the last actors' states are still being closed; and what they held is garbage elsewhere
	local total
	repeat
		total = memory.total()
		skynet.sleep(20)
		collectgarbage()
		skynet.call(".launcher", "lua", "GC", 1000)
	until memory.total() >= total * 0.98
	say("clean", memory.total(), ledger.get(cell.sent), ledger.get(cell.calls), ledger.get(cell.failed),
		ledger.get(cell.remote), ledger.get(cell.echoed), ledger.get(cell.dropped), born, gaps)
end

function order.quit()
	skynet.abort()
end

local function obey(line)
	local words = {}
	for word in line:gmatch "%S+" do
		words[#words + 1] = word
	end
	local ok, err = xpcall(order[words[1]], function(e)
		return type(e) == "table" and e.law or debug.traceback(e)
	end, table.unpack(words, 2))
	if not ok then
		say("BROKEN", (tostring(err):gsub("\n", " | ")))
	end
end

--- The echo server on a socket: a length, then that many bytes, which go back.
local function echo_server()
	local listener, _, port = socket.listen("127.0.0.1", 0)
	ledger.set(cell.port, port)
	socket.start(listener, function(id)
		socket.start(id)
		socket.limit(id, 1 << 20)
		local head = socket.read(id, 4)
		local text = head and socket.read(id, (string.unpack("<I4", head)))
		if text then
			socket.write(id, text)
		end
		socket.close(id)
	end)
end

local serve = {}

function serve.echo(text)
	skynet.retpack(text)
end

function serve.number(from, sender, number)
	ledger.add(cell.FROM + from, 1)
	local before = last[sender] or 0
	if number <= before then
		ledger.add(cell.disorder, 1)
		skynet.error(("BROKEN cluster message %d of %s after %d"):format(number, sender, before))
	elseif number > before + 1 then
		gaps = gaps + number - before - 1
	end
	last[sender] = number
end

function serve.untouched(n)
	skynet.retpack(untouched[n] == true)
end

skynet.start(function()
	local f = assert(io.open "/proc/self/stat")
	pid = f:read "n"
	f:close()
	skynet.dispatch("lua", function(_, _, what, ...)
		serve[what](...)
	end)
	skynet.register ".stress"
	ledger.watch(14)
	echo_server()
	sharetable.loadtable("stress", { version = 0, list = { 0 } })
	sharetable.query "stress"
	cluster.register("stress", skynet.self())
	local _, port = cluster.open(0)
	skynet.newservice("stresschild", "warm")
	local stdin = socket.stdin()
	base = left_over()
	-- each other node: a link to it and one from it (agent and sender, a socket each)
	base.services = base.services + 3 * (nodes - 1) + 1
	base.sockets = base.sockets + 2 * (nodes - 1)
	base.descriptors = base.descriptors + 2 * (nodes - 1)
	say("ready", port)
	for line in function() return socket.readline(stdin) end do
		skynet.fork(obey, line)
	end
end)
