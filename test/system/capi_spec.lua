-- The C interface, by a C service that uses all of it: text commands, sending, sockets, harbor, and
-- the same source as C++.

local kit = require "testkit"
local node = require "node"

local function start(parameter, options)
	local config = { start = "capidrive " .. (parameter or ""), logpath = os.getenv "TEST_TMP" or "/tmp" }
	for k, v in pairs(options or {}) do
		config[k] = v
	end
	local n = node.start(config)
	n:expect "ready for orders"
	local tag = 0
	function n:ask(...)
		tag = tag + 1
		kit.write(self.input, table.concat({ tag, ... }, "\t") .. "\n", 10)
		return (self:expect(("=%d %%[(.-)%%]\n"):format(tag)))
	end
	function n:command(...)
		return self:ask("command", ...)
	end
	return n
end

describe("a C service", function()
	local n

	setup(function()
		n = start "one"
	end)

	teardown(function()
		n:kill()
	end)

	it("gets its parameter", function()
		n:expect "capi starts with %[one%]"
	end)

	it("sends in every way, with the results promised", function()
		assert.equal("ok", n:ask "send")
		n:expect "error: Destination address can't be 0"
		n:expect "error: The message to %x+ is too large"
		n:expect "error: The message to GLOBAL is too large"
	end)

	it("gets messages in order, with zero bytes behind copies and low bytes of types", function()
		assert.equal("own 1 copied;own 2 given;from 291 ;own 3 by name;own 4 pushed;from 66 ;"
			.. "own 5 sent;from 67 ;own 6 ;timer 1 ;", n:ask "loop")
	end)

	it("finds handles, names, modules, time and environment", function()
		assert.equal("ok", n:ask "kernel")
		assert.equal("ok", n:ask "memory")
		assert.equal("ok", n:ask "locks")
	end)

	it("talks over sockets", function()
		local report = n:ask "socket"
		for _, part in ipairs {
			"^listener 1 127.0.0.1;listener 0 start;", "client 0 127.0.0.1;", "accept 1 127.0.0.1:;",
			"server 0 start;", "to server 0 [^;]*three%.;", "to client 0 low%.", "end!;",
			"server 0 transfer;", "server closed 0 ;", "udp 7 datagram;", "dialled 7 answer;info 1 ;$",
		} do
			assert.truthy(report:find(part), part .. " in " .. report)
		end
		assert.equal("one two three.", (report:gsub("to server 0 ([^;]*);", "\1%1\2")
			:gsub("\2[^\1]*\1", ""):match "\1([^\2]*)\2"))
		assert.truthy(n:ask "socket":find "info 1")
	end)

	it("logs lines of any length, and bytes by count", function()
		local handle = n:ask "handle"
		local prefix = ("[:%08x] "):format(tonumber(handle, 16))
		assert.equal("logged", n:ask("log", "here"))
		n:expect "L|\n"
		assert.truthy(n.text:find(prefix .. "text here number 42\n", 1, true))
		assert.truthy(n.text:find(prefix .. "12345\n", 1, true))
		assert.truthy(n.text:find("[:00000000] from nobody\n", 1, true))
		assert.truthy(n.text:find(prefix .. ("L"):rep(3000) .. "|\n", 1, true))
		n:expect("%[:" .. ("%08x"):format(tonumber(handle, 16)) .. "%] capi %S+")
	end)

	it("resolves names and harbors", function()
		assert.equal("1f", n:ask("queryname", ":1f"))
		assert.equal("1", n:ask("queryname", ".logger"))
		assert.equal("0", n:ask("queryname", ".nobody"))
		assert.equal("0", n:ask("queryname", "global"))
		n:expect "error: Don't support query global name global"
		assert.equal("1 5 1", n:ask("remote", "05000001"))
		assert.equal("0 0 0", n:ask("remote", "00000001"))
	end)

	it("is signalled", function()
		assert.equal("signalled", n:ask("signal", "5"))
		n:expect "capi gets signal 5"
		n:ask("signal", "0x10")
		n:expect "capi gets signal 16"
	end)

	it("fails to launch when its init says so", function()
		assert.equal("failed", n:ask("launch", "fail"))
		n:expect "error: launch capi FAILED"
	end)
end)

describe("skynet_command", function()
	local n, own

	setup(function()
		n = start()
		own = n:ask "handle"
	end)

	teardown(function()
		n:kill()
	end)

	it("gives nothing for a command it doesn't know, or one that lacks its argument", function()
		assert.equal("(none)", n:command("NOSUCH", "x"))
		assert.equal("(none)", n:command("reg", ""))
		for _, name in ipairs {
			"TIMEOUT", "QUERY", "NAME", "KILL", "LAUNCH", "GETENV", "SETENV", "STAT", "LOGON", "LOGOFF",
			"SIGNAL",
		} do
			assert.equal("(none)", n:command(name), name)
		end
	end)

	it("REG", function()
		assert.equal(":" .. own, n:command "REG")
		assert.equal(":" .. own, n:command("REG", ""))
		assert.equal("capi_name", n:command("REG", ".capi_name"))
		assert.equal("(none)", n:command("REG", ".capi_name"))
		assert.equal("with blank", n:command("REG", ".with blank"))
		assert.equal("(none)", n:command("REG", "GLOBAL"))
		n:expect "error: Can't register global name GLOBAL in C"
	end)

	it("QUERY", function()
		assert.equal(":" .. own, n:command("QUERY", ".capi_name"))
		assert.equal(":1", n:command("QUERY", ".logger"))
		assert.equal("(none)", n:command("QUERY", ".nobody"))
		assert.equal("(none)", n:command("QUERY", "capi_name"))
		assert.equal("(none)", n:command("QUERY", ""))
	end)

	it("NAME", function()
		assert.equal("named", n:command("NAME", ".named :" .. own .. " ignored"))
		assert.equal(":" .. own, n:command("QUERY", ".named"))
		assert.equal("(none)", n:command("NAME", ".named :1"))
		assert.equal("(none)", n:command("NAME", ".unnamed"))
		assert.equal("(none)", n:command("NAME", ".unnamed 12"))
		assert.equal("(none)", n:command("NAME", ".unnamed :0"))
		assert.equal("(none)", n:command("NAME", ""))
		assert.equal("(none)", n:command("NAME", "GLOBAL :" .. own))
		n:expect "error: Can't set global name GLOBAL in C"
	end)

	it("LAUNCH and KILL", function()
		local handle = n:command("LAUNCH", "capi a  b\nc")
		assert.truthy(handle:find "^:[0-9A-F]+$" and #handle == 9)
		n:expect "capi starts with %[a  b%]"
		n:expect "LAUNCH capi a  b"
		assert.truthy(n:command("LAUNCH", "capi"):find "^:")
		n:expect "capi starts with %[%(none%)%]"
		assert.equal("(none)", n:command("LAUNCH", "no_such_module x"))
		assert.equal("(none)", n:command("LAUNCH", " capi"))
		assert.equal("(none)", n:command("LAUNCH", ""))
		assert.equal("(none)", n:command("KILL", handle))
		n:expect(("KILL :%x"):format(tonumber(handle:sub(2), 16)))
		assert.equal("(none)", n:command("KILL", ":0"))
		assert.equal("(none)", n:command("KILL", "nonsense"))
		n:expect "error: Can't convert nonsense to handle"
		assert.equal("(none)", n:command("KILL", ":fffff0"))
		n:expect "KILL :fffff0"
	end)

	it("MONITOR hears of ends, also of unknown handles", function()
		assert.equal("(none)", n:command "MONITOR")
		assert.equal("(none)", n:command("MONITOR", ":" .. n:ask "self"))
		assert.equal(":" .. n:ask "self", n:command "MONITOR")
		n:command("KILL", ":fffff1")
		n:expect "monitor: fffff1"
		assert.equal("(none)", n:command("MONITOR", ":0"))
		assert.equal("(none)", n:command("MONITOR", ""))
	end)

	it("GETENV, SETENV", function()
		assert.equal("2", n:command("GETENV", "thread"))
		assert.equal("(none)", n:command("GETENV", "nothing here"))
		assert.equal("(none)", n:command("SETENV", "greeting hello  world "))
		assert.equal("hello  world ", n:command("GETENV", "greeting"))
		assert.equal("(none)", n:command("SETENV", "empty "))
		assert.equal("", n:command("GETENV", "empty"))
		assert.equal("(none)", n:command("SETENV", "noblank"))
		assert.equal("(none)", n:command("GETENV", "noblank"))
		assert.equal("(none)", n:command("SETENV", "greeting other"))
		assert.equal("hello  world ", n:command("GETENV", "greeting"))
	end)

	it("TIMEOUT, STARTTIME, STAT", function()
		local first = tonumber(n:command("TIMEOUT", "100000"))
		assert.equal(first + 1, tonumber(n:command("TIMEOUT", "junk")))
		local started = tonumber(n:command "STARTTIME")
		assert.is_true(math.abs(os.time() - started) < 600)
		assert.equal("0", n:command("STAT", "mqlen"))
		assert.equal("0", n:command("STAT", "endless"))
		assert.truthy(n:command("STAT", "cpu"):find "^%d+%.%d%d%d%d%d%d$")
		assert.truthy(n:command("STAT", "time"):find "^%d+%.?%d*$")
		local count = tonumber(n:command("STAT", "message"))
		assert.equal(count + 1, tonumber(n:command("STAT", "message")))
		assert.equal("", n:command("STAT", "nonsense"))
	end)

	it("LOGON, LOGOFF", function()
		assert.equal("(none)", n:command("LOGON", ":" .. own))
		n:expect "Open log file .-%.log"
		assert.equal("(none)", n:command("LOGON", ":" .. own))
		assert.equal("(none)", n:command("LOGOFF", ":" .. own))
		n:expect(("Close log file :%08x"):format(tonumber(own, 16)))
		assert.equal("(none)", n:command("LOGOFF", ":" .. own))
		assert.equal("(none)", n:command("LOGON", ":fffff0"))
	end)

	it("SIGNAL", function()
		assert.equal("(none)", n:command("SIGNAL", ":" .. own .. " 3"))
		n:expect "capi gets signal 3"
		assert.equal("(none)", n:command("SIGNAL", ".capi_name"))
		n:expect "capi gets signal 0"
		assert.equal("(none)", n:command("SIGNAL", ".capi_name 9"))
		assert.equal("(none)", n:command("SIGNAL", ":fffff0 1"))
		assert.equal(":" .. own, n:command "REG")
		assert.is_nil(n.text:find "signal 9")
	end)

	it("EXIT and ABORT", function()
		local m = start()
		kit.write(m.input, "0\tcommand\tABORT\n", 10)
		assert.equal(0, m:exit_code())
		m = start()
		kit.write(m.input, "0\tcommand\tEXIT\n", 10)
		m:expect(("%%[:%08x%%] KILL self"):format(tonumber("9", 16)))
		m:kill()
	end)
end)

describe("a C harbor service", function()
	it("gets what goes to other nodes", function()
		local n = start "harbor"
		assert.equal("7", n:ask("carry", ":05000123", "10"))
		n:expect "remote :5000123 type 10 session 7 source 9 %[payload%]"
		assert.equal("7", n:ask("carry", "SOMENAME", "0"))
		n:expect "remote SOMENAME type 0 session 7 source 9 %[payload%]"
		assert.equal("7", n:ask("carry", "A_NAME_OF_MORE_THAN_16_BYTES", "3"))
		n:expect "remote A_NAME_OF_MORE_T type 3"
		-- what must stay on its node is refused with a line, not an abort
		assert.equal("-1", n:ask("carry", ":05000123", "4"))
		assert.equal("-1", n:ask("carry", ":05000123", "5"))
		n:expect "can't send a message of type 5"
		n:kill()
	end)
end)

for _, compiler in ipairs { "g++", "clang++" } do
	describe("the C service compiled by " .. compiler, function()
		if not os.execute("command -v " .. compiler .. " >/dev/null 2>&1") then
			pending(compiler .. " isn't installed")
			return
		end

		it("works the same", function()
			local folder = node.file "cxx"
			assert(os.execute("mkdir -p " .. folder))
			local build = node.spawn { compiler, "-x", "c++", "-std=c++17", "-Wall", "-Wextra", "-Werror",
				"-fPIC", "-shared", "-Iskynet-src", "-I3rd/lua", "-o", folder .. "/capi.so",
				"test/cservice/capi.c" }
			assert.equal(0, build:exit_code(), build.text)
			local n = start("cxx", { cpath = "./cservice/?.so;" .. folder .. "/?.so" })
			for _, what in ipairs { "send", "kernel", "memory", "locks" } do
				assert.equal("ok", n:ask(what))
			end
			assert.truthy(n:ask "socket":find "info 1")
			n:kill()
		end)
	end)
end
