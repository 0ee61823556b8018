-- The remote debugger: a console's `debug` command on a running service.

local console = require "console"
local node = require "node"

describe("debug", function()
	local n, con, other

	setup(function()
		n = node.start { start = "debugged" }
		n:expect "\nready"
		n.port = tonumber((n:expect "Start debug console at 127%.0%.0%.1:(%d+)"))
		n.self = n:expect "address self%s+(:%x+)"
		con, other = console.connect(n.port), console.connect(n.port)
	end)

	teardown(function()
		con:close()
		other:close()
		n:kill()
	end)

	local function attach()
		n.text = ""
		con:send("debug " .. n.self .. "\n")
		con:expect(n.self .. ">$")
		n:expect("Attach to " .. n.self)
		n:expect("%[" .. n.self .. "%] Enter debug mode")
	end

	local function leave()
		con:send "cont\n"
		con:expect "<CMD OK>\n"
		n:expect("%[" .. n.self .. "%] Leave debug mode")
	end

	-- Type a line; what is shown until the next prompt.
	local function type_line(line, prompt)
		con:send(line .. "\n")
		prompt = prompt or n.self .. ">"
		return (con:expect(prompt .. "$"):gsub(prompt .. "$", ""))
	end

	it("evaluates expressions and statements", function()
		attach()
		assert.equal("2\tx\t\n", type_line "1 + 1, 'x'")
		assert.equal("\n", type_line "a_global = 5")
		assert.equal("5\t\n", type_line "a_global")
		assert.equal("", type_line "")
		assert.equal("1\tnil\t\n\n", type_line "print(1, nil)")
		assert.truthy(type_line "no_such_function()":find "attempt to call a nil value")
		assert.truthy(type_line "= =":find "unexpected symbol")
		assert.equal("1\t1\t\n", type_line "skynet.call('.echo', 'lua', 'echo', 1), 1")
		leave()
		assert.equal("harbor\t0\n", (con:run "getenv harbor"))
	end)

	it("runs the side effects of an expression that fails once", function()
		attach()
		type_line "count = 0"
		type_line "function bump() count = count + 1 error 'x' end"
		type_line "bump()"
		assert.equal("1\t\n", type_line "count")
		leave()
	end)

	it("stops a request, steps through it, reads and changes its locals", function()
		attach()
		assert.equal("No nothing\t\n", type_line "watch 'nothing'")
		assert.equal("No dispatch\t\n", type_line "watch 'response'")
		assert.equal("\n", type_line "watch('lua', function(_, _, cmd) return cmd == 'stop' end)")
		-- another request goes through
		assert.equal("1\tgo\n2\t6\nn\t2\n", (other:run("call " .. n.self .. ' "go"')))
		other:send("call " .. n.self .. ' "stop"\n')
		local stopped = "%./test/services/debugged%.lua%(%d+%)>"
		con:expect(stopped .. "$")
		assert.equal("stop\t\n", type_line("cmd", stopped))
		assert.equal("suspended\t\n", type_line("coroutine.status(_CO)", stopped))
		-- meanwhile the service goes on
		local third = console.connect(n.port)
		assert.equal("1\tgo\n2\t6\nn\t2\n", (third:run("call " .. n.self .. ' "go"')))
		third:close()
		local line
		repeat
			con:send "n\n"
			line = con:expect(stopped .. "$")
		until type_line("i", stopped) == "2\t\n"
		assert.truthy(line:find "%.lua%(%d+%)>")
		assert.equal("\n", type_line("sum = 100", stopped))
		con:send "c\n"
		con:expect(n.self .. ">$")
		assert.truthy(other:expect "<CMD OK>\n":find "1\tstop\n2\t105\n")
		leave()
	end)

	it("steps over blocking calls, and into functions", function()
		attach()
		type_line "watch 'lua'"
		other:send("call " .. n.self .. ' "ask", ".echo", "lua", "sleep", 5, "answer"\n')
		local stopped = "%./test/services/debugged%.lua%(%d+%)>"
		con:expect(stopped .. "$")
		for _ = 1, 3 do
			con:send "s\n"
			con:expect "%d?:?[^\n]*>$"
		end
		con:send "c\n"
		assert.truthy(other:expect "<CMD OK>\n":find "1\tanswer\n")
		leave()
	end)

	it("refuses a second session, and what is no Lua service", function()
		attach()
		local text, how = other:run("debug " .. n.self)
		assert.equal("Error", how)
		assert.truthy(text:find "can't attach")
		n:expect "Already in debug mode"
		leave()
		text, how = other:run "debug 1"
		assert.equal("Error", how)
		assert.truthy(text:find "can't attach")
	end)

	it("is left when the connection ends, also while a request is stopped", function()
		attach()
		type_line "watch 'lua'"
		other:send("call " .. n.self .. ' "stop"\n')
		con:expect "debugged%.lua%(%d+%)>$"
		con:close()
		n:expect("%[" .. n.self .. "%] Leave debug mode")
		assert.truthy(other:expect "<CMD OK>\n":find "1\tstop\n")
		con = console.connect(n.port)
		assert.truthy(con:run("call " .. n.self .. ' "go"'):find "1\tgo\n")
		node.eventually(function()
			return not con:run "list":find "debug_agent"
		end)
	end)
end)
