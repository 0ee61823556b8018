--- Two things that go wrong in real nodes, and the console commands that show them:
--
-- * two accounts transfer money to each other at the same time, each holding its own lock while
--   it asks the other one: `waits` names the deadlock, `killtask` ends one side of it;
-- * a pathfinder runs in circles: `threads` and the log show where, `signal` breaks it.

local skynet = require "skynet"
local log = require "skynet.log"

local function ask(what, addr, ...)
	local ok, err = pcall(skynet.call, addr, "lua", ...)
	log.info(what, ok and "worked" or err)
end

local function transfers(a, b)
	skynet.fork(ask, "transfer from a to b", a, "transfer", b, 10)
	skynet.fork(ask, "transfer from b to a", b, "transfer", a, 20)
end

local function help(port, pathfinder)
	print(("\nConnect to the console, for example by: nc 127.0.0.1 %d"):format(port))
	print "  help                    every command"
	print "  waits                   the two accounts have locked each other out"
	print "  task ADDRESS            coroutines of one of them; ..."
	print "  killtask ADDRESS 0x..   ... ending one lets the other go on"
	print "  threads                 one worker is at the same message for ever"
	print(("  signal %s 0      breaks that loop"):format(skynet.address(pathfinder)))
	print "  log info                no debug lines any more"
	print(("  debug %s         then: watch 'lua', and cont to leave"):format(
		skynet.address(skynet.self())))
	io.stdout:flush()
end

skynet.start(function()
	local a = skynet.newservice("account", 100)
	local b = skynet.newservice("account", 100)
	local pathfinder = skynet.newservice "pathfinder"
	local console = skynet.newservice("debug_console", 0)
	local port = skynet.call(console, "debug", "INFO").port
	transfers(a, b)
	skynet.fork(ask, "a path to the castle", pathfinder, "find", "castle")
	log.debug("accounts are", skynet.address(a), "and", skynet.address(b))
	help(port, pathfinder)
	skynet.dispatch("lua", function()
		skynet.retpack(skynet.time())
	end)
end)
