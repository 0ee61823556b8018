-- examples/debug does what its header says: a deadlock to find and an endless loop to break.

local console = require "console"
local node = require "node"

describe("examples/debug", function()
	local n, con

	setup(function()
		n = node.spawn { "./skynet", "examples/debug/config" }
		con = console.connect((tonumber(n:expect "nc 127%.0%.0%.1 (%d+)")))
	end)

	teardown(function()
		con:close()
		n:kill()
	end)

	it("shows a deadlock, which ends when one side is killed", function()
		local text = node.eventually(function()
			local text = con:run "waits"
			return text:find "DEADLOCK" and text
		end)
		local address = text:match "DEADLOCK\t(:%x+) %(%./examples/debug/account%.lua:%d+%)"
		assert.truthy(address, text)
		local thread = con:run("task " .. address):match "thread: (0x%x+) session: %d+\tstack"
		assert.equal("", (con:run(("killtask %s %s"):format(address, thread))))
		n:expect "transfer from %a to %a [^\n]*call failed"
		n:expect "transfer from %a to %a worked"
		assert.falsy(con:run "waits":find "DEADLOCK")
	end)

	it("has an endless loop, which a signal breaks", function()
		local address = n.text:match "signal (:%x+) 0"
		assert.truthy(con:run "threads":find(address .. "\tsource::%x+\ttype:lua\tfor:%d"))
		con:run("signal " .. address .. " 0")
		n:expect "a path to the castle [^\n]*call failed"
		assert.equal("1\there\nn\t1\n", (con:run("call " .. address .. ' "ping"')))
	end)

	it("logs at the level the console sets", function()
		assert.truthy(n.text:find "%[DEBUG%] accounts are")
		assert.equal("info\n", (con:run "log info"))
	end)
end)
