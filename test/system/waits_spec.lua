-- The console's `waits` and `threads` on a node whose services wait, hang and loop.

local kit = require "testkit"
local console = require "console"
local node = require "node"

describe("waits", function()
	local n, con, a, b

	before_each(function()
		n = node.start { start = "waiters", thread = 3 }
		n:expect "\nready"
		con = console.connect((tonumber(n:expect "Start debug console at 127%.0%.0%.1:(%d+)")))
		a = n:expect "address a%s+(:%x+)"
		b = n:expect "address b%s+(:%x+)"
	end)

	after_each(function()
		con:close()
		n:kill()
	end)

	-- Call in the background, from a console of its own.
	local function call(addr, arguments)
		local other = console.connect((tonumber((n.text:match "console at 127%.0%.0%.1:(%d+)"))))
		other:send(("call %s %s\n"):format(addr, arguments))
		return other
	end

	local function wait_for(pattern)
		return node.eventually(function()
			local text = con:run "waits"
			return text:find(pattern) and text
		end)
	end

	it("tells who waits for whom, from which line, and since when", function()
		local other = call(a, ('"ask", ".b", "hang"'))
		local text = wait_for(a .. " %(%./test/services/waiters%.lua:%d+%) %-> %.b %(" .. b
			.. "%)\t%d+%.%d%ds\tthere: wait at %./test/services/waiters%.lua:%d+\n")
		assert.truthy(text:find(" %-> " .. a .. "\t%d+%.%d%ds\tthere: call at "))
		assert.falsy(text:find "DEADLOCK")
		kit.sleep(1.1)
		local seconds = con:run "waits":match(a .. " [^\n]*\t(%d+%.%d+)s")
		assert.is_true(tonumber(seconds) >= 1)
		other:close()
	end)

	it("tells what a request set waits for", function()
		local other = call(a, ('"select", "%s", "hang"'):format(b))
		wait_for(a .. " %(%./test/services/waiters%.lua:%d+%) %-> " .. b .. "\t%d")
		other:close()
	end)

	it("names a deadlock", function()
		-- a holds its lock and asks b, who asks a, who waits for the lock
		local other = call(a, ('"locked", "%s", "ask", "%s", "locked", "%s", "echo"'):format(b, a, b))
		local text = wait_for "DEADLOCK\t"
		local cycle = text:match "DEADLOCK\t([^\n]*)"
		assert.truthy(cycle:find(a) and cycle:find(b))
		assert.equal(3, select(2, cycle:gsub(" %-> ", "")))
		assert.truthy(text:find(a .. " %([^)]*%) %-> the critical section's holder\t"))
		other:close()
	end)

	it("doesn't call it a deadlock when services merely ask each other", function()
		local other = call(a, ('"ask", "%s", "ask", "%s", "hang"'):format(b, a))
		local text = wait_for(b .. " %([^)]*%) %-> " .. a .. "\t[^\n]*wait at")
		assert.falsy(text:find "DEADLOCK")
		other:close()
	end)

	it("tells of services that don't answer; threads shows them, signal frees them", function()
		local other = call(b, '"loop"')
		wait_for("%-> " .. b .. "\t%d+%.%d%ds\twhich doesn't answer")
		local text = con:run "threads"
		assert.truthy(text:find("%d\t" .. b .. "\tsource::%x+\ttype:lua\tfor:%d+%.%d+s\tsnlua waiters b\n"),
			text)
		con:run("signal " .. b)
		other:expect "call failed\n<CMD Error>\n"
		assert.equal("1\t5\nn\t1\n", (con:run("call " .. b .. ' "echo", 5')))
		n:expect "signal 0"
		other:close()
	end)

	it("reports an endless loop with the traceback of the service", function()
		local other = call(b, '"loop"')
		n:expect("error: A message from %[ :%x+ %] to %[ " .. b
			.. " %] maybe in an endless loop %(version = %d+%)")
		n:expect("%[" .. b .. "%] where it runs now:\nstack traceback:\n[^\n]*waiters%.lua:%d+: in ")
		con:run("signal " .. b .. " 0")
		other:expect "call failed\n<CMD Error>\n"
		other:close()
	end)
end)

describe("waits across cluster nodes", function()
	it("shows both ends of a link", function()
		local function start()
			local n = node.start { start = "debugged" }
			n:expect "\nready"
			n.console = console.connect((tonumber(n:expect "Start debug console at 127%.0%.0%.1:(%d+)")))
			n.self = n:expect "address self%s+(:%x+)"
			n.echo = n:expect "address echo%s+(:%x+)"
			return n
		end
		local x, y = start(), start()
		local port = y.console:run("call " .. y.self .. ' "open"'):match "1\t(%d+)\n"
		x.console:run(("call %s 'reload', 'y', '127.0.0.1:%s'"):format(x.self, port))
		local other = console.connect((tonumber((x.text:match "console at 127%.0%.0%.1:(%d+)"))))
		other:send("call " .. x.self .. ' "cluster", "y", "@echo", "hang"\n')
		node.eventually(function()
			return x.console:run "waits":find(x.self .. " %(%./test/services/debugged%.lua:%d+%) %-> "
				.. "node y, echo %(link session %d+%)\t%d+%.%d%ds\n")
				or x.console:run "waits":find(x.self .. " %(%./test/services/debugged%.lua:%d+%) %-> "
				.. "node y, @echo %(link session %d+%)\t%d+%.%d%ds\n")
		end)
		node.eventually(function()
			return y.console:run "waits":find("node at 127%.0%.0%.1:%d+ %(link session %d+%) %-> "
				.. y.echo .. "\t%d+%.%d%ds\tthere: wait at %./test/services/echo%.lua:%d+\n")
		end)
		-- a trace goes over the link
		x.console:run("trace " .. x.self .. " on")
		x.console:run("call " .. x.self .. ' "cluster", "y", "@echo", "echo", 1')
		local tag = x:expect("<TRACE (" .. x.self .. "%-%d+)> %d+ request\n"):gsub("%p", "%%%0")
		x:expect("<TRACE " .. tag .. "> %d+ session %([^\n]*%)" .. tag .. "\n")
		x:expect("<TRACE %([^\n]*%)" .. tag .. "> %d+ cluster y\n")
		y:expect("<TRACE %([^\n]*%)" .. tag .. "> %d+ tracecall begin\n")
		y:expect("%[" .. y.echo .. "%] <TRACE %([^\n]*%)" .. tag .. "> %d+ request\n")
		y:expect("<TRACE %([^\n]*%)" .. tag .. "> %d+ tracecall end\n")
		x:expect("<TRACE " .. tag .. "> %d+ end\n")
		other:close()
		x:kill()
		y:kill()
	end)
end)
