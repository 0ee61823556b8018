--- The driver of `make stress`: nodes of a cluster full of actors that do things at random, in
--- rounds; one of the nodes is killed, frozen, or leaves and comes back. After each round the laws
--- are checked:
---   messages sent = received + dropped with a dead receiver, in the order sent, none twice;
---   every call ended; calls to a node that nobody touched succeeded; answers are right;
---   services, descriptors, sockets and threads are those of the start;
---   memory returns to what it was after the first rounds;
---   the log has no line that isn't expected, and a node that quits ends with 0.
--- The same seed gives the same plan. Exit code 0 when all laws held.

local kit = require "testkit"
local node = require "node"

local seconds = tonumber(arg[1]) or 30
local seed = tonumber(arg[2]) or os.time()
local patience = tonumber(os.getenv "PATIENCE") or 120 -- s
local NODES, ACTORS = 3, 16
local VICTIM = NODES -- the node that is disturbed

local repeat_with = ("make stress SEED=%d SECONDS=%g"):format(seed, seconds)
print("# " .. repeat_with)
math.randomseed(seed)

local logs = os.getenv "TEST_TMP"
local nodes, incarnations = {}, {}

-- What may stand in a log with one of these words in it.
local planned = {
	"STRESS planned", "May overload", "%[Error: socket%]",
	"socket: error on %d+ Connection reset by peer", "socket: error on %d+ Broken pipe",
}
local suspicious = { "[Ee]rror", "ssertion", "BROKEN", "endless", "not enough memory" }

local function tell(n, text)
	kit.write(nodes[n].input, text .. "\n", 10)
end

local function fail(text)
	print("not ok - " .. text)
	print("# the logs are in " .. logs)
	print("# again with: " .. repeat_with)
	node.stop_all()
	os.exit(1)
end

local function answer(n, pattern)
	local self = nodes[n]
	local deadline = kit.now() + patience
	while true do
		local broken = self.text:match "STRESS BROKEN ([^\n]*)\n"
		if broken then
			fail(("node%d: %s"):format(n, broken))
		end
		if self.text:find "Sanitizer" or self.text:find "runtime error" then
			self:pump(2)
			fail(("node%d: %s"):format(n, self.text))
		end
		local found = table.pack(self.text:find("STRESS " .. pattern .. "\n"))
		if found[1] then
			-- what came before stays: a round may be over before names are known
			self.text = self.text:sub(1, found[1] - 1) .. self.text:sub(found[2] + 1)
			return table.unpack(found, 3, found.n)
		end
		if self.ended then
			fail(("node%d ended, code %s"):format(n, self:exit_code()))
		elseif kit.now() > deadline then
			fail(("node%d doesn't answer %q: %s"):format(n, pattern, self.text:sub(-500)))
		end
		self:pump(0.2)
	end
end

local function start(n)
	incarnations[n] = (incarnations[n] or 0) + 1
	local log = ("%s/node%d.%d.log"):format(logs, n, incarnations[n])
	nodes[n] = node.start {
		thread = 3, node = n, nodes = NODES, actors = ACTORS, incarnation = incarnations[n],
		limit = math.ceil(patience / 2), only = os.getenv "ONLY",
		start = "stressnode", bootstrap = "snlua bootstrap", logger = log,
		luaservice = "./service/?.lua;./test/stress/?.lua",
		lua_path = "./lualib/?.lua;./lualib/?/init.lua;./test/stress/?.lua",
		lua_cpath = "./luaclib/?.so;./test/lib/?.so",
	}
	nodes[n].log = log
	nodes[n].port = tonumber((answer(n, "ready (%d+)")))
end

local function introduce()
	local names = {}
	for i = 1, NODES do
		names[i] = ("node%d=127.0.0.1:%d"):format(i, nodes[i].port)
	end
	for i = 1, NODES do
		tell(i, "names " .. table.concat(names, " "))
	end
	for i = 1, NODES do
		answer(i, "named")
	end
end

local function check_log(n)
	for line in io.lines(nodes[n].log) do
		local bad
		for _, word in ipairs(suspicious) do
			bad = bad or line:find "^%d+/%d+/%d+ " and line:find(word) -- else it's part of a traceback
		end
		for _, text in ipairs(planned) do
			bad = bad and not line:find(text)
		end
		if bad then
			fail(("node%d logged: %s"):format(n, line))
		end
	end
end

-- ---- what happens to the victim ----

local disturb = {}

function disturb.nothing() end

function disturb.freeze(length)
	kit.sleep(length * 0.3)
	nodes[VICTIM]:freeze()
	kit.sleep(math.min(length * 0.4, 3))
	nodes[VICTIM]:signal(18)
end

local function comes_back(length)
	kit.sleep(length * 0.2)
	start(VICTIM)
	introduce()
end

function disturb.crash(length)
	kit.sleep(length * 0.4)
	nodes[VICTIM]:kill()
	comes_back(length)
	return true
end

function disturb.leave(length)
	kit.sleep(length * 0.4)
	tell(VICTIM, "quit")
	local code = nodes[VICTIM]:exit_code(patience)
	if code ~= 0 then
		fail(("node%d quit with code %d: %s"):format(VICTIM, code, nodes[VICTIM].text:sub(-1000)))
	end
	comes_back(length)
	return true
end

-- ---- rounds ----

local function check_sends(settled)
	local to, from = {}, {}
	for _, n in ipairs(settled) do
		tell(n, "sends")
		to[n], from[n] = {}, {}
		for peer, sent, received in answer(n, "sends ([^\n]*)"):gmatch "(%d+):(%d+):(%d+)" do
			to[n][tonumber(peer)], from[n][tonumber(peer)] = tonumber(sent), tonumber(received)
		end
	end
	for _, a in ipairs(settled) do
		for _, b in ipairs(settled) do
			if a ~= b and to[a][b] ~= from[b][a] then
				return ("of %d cluster sends from node%d to node%d %d arrived"):format(to[a][b], a, b, from[b][a])
			end
		end
	end
end

local function round(length, how)
	local touched = how ~= "nothing"
	local list = touched and "1 2" or "1 2 3"
	for i = 1, NODES do
		tell(i, "untouched " .. list)
		answer(i, "noted")
	end
	for i = 1, NODES do
		tell(i, ("round %g %d"):format(length, math.random(1 << 30)))
	end
	local fresh = disturb[how](length)
	local settled = {}
	for i = 1, NODES do
		if not (fresh and i == VICTIM) then
			answer(i, "settled")
		end
		if not (touched and i == VICTIM) then
			settled[#settled + 1] = i
		end
	end
	-- the last ones may still be on their way
	local deadline = kit.now() + patience / 2
	local wrong
	repeat
		wrong = check_sends(settled)
	until not wrong or kit.now() > deadline or kit.sleep(0.1)
	if wrong then
		fail(wrong)
	end
	local used = {}
	for i = 1, NODES do
		tell(i, "clean")
		local total, sent, calls, failed, remote, echoed, dropped, born =
			answer(i, "clean (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) %d+")
		used[i] = tonumber(total)
		print(("# %-8s node%d: %s messages (%s dropped), %s calls (%s failed), %s over the cluster, " ..
			"%s bytes echoed, %s actors, %.1f MB"):format(how, i, sent, dropped, calls, failed, remote, echoed,
			born, total / 1e6))
	end
	return used
end

for i = 1, NODES do
	start(i)
end
introduce()

local ways = {}
for way in (os.getenv "WAYS" or "nothing freeze crash leave"):gmatch "%S+" do
	ways[#ways + 1] = way
end
local length = math.max(math.min(seconds / 5, 20), 1)
local first
local begin = kit.now()
local count = 0
repeat
	count = count + 1
	-- each way once, the first two rounds to warm up; then at random
	local how = ways[count == 1 and 1 or count <= 5 and (count - 2) % #ways + 1 or math.random(#ways)]
	local used = round(length, how)
	if count == 2 then
		first = used
	elseif count > 2 then
		for i = 1, NODES do
			if incarnations[i] == 1 and used[i] > first[i] * 1.1 + 1e6 then
				fail(("node%d: %d bytes after the warm-up, %d now"):format(i, first[i], used[i]))
			end
		end
	end
until count >= 5 and kit.now() - begin > seconds
for i = 1, NODES do
	tell(i, "quit")
	local code = nodes[i]:exit_code(patience)
	if code ~= 0 then
		fail(("node%d quit with code %d: %s"):format(i, code, nodes[i].text:sub(-1000)))
	end
	check_log(i)
end
print(("ok - %d rounds, all laws held"):format(count))
