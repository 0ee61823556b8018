--- Nodes of the runtime as child processes, for specs.
--
-- node.start{ ... } writes a configuration (defaults for what isn't given) into a folder of its
-- own and starts the binary. Output is read when somebody waits for it.

local kit = require "testkit"

local node = {}
node.__index = node

local LIMIT = 60 -- seconds: generous, for slow machines and sanitizers
local running = {}
local count = 0
local tmp = os.getenv "TEST_TMP" or "/tmp"

local defaults = {
	thread = 2,
	harbor = 0,
	luaservice = "./service/?.lua;./test/services/?.lua",
	cpath = "./cservice/?.so;./test/cservice/?.so",
	lua_path = "./lualib/?.lua;./lualib/?/init.lua;./test/lib/?.lua",
}

--- A file of its own for this test run.
function node.file(name, text)
	count = count + 1
	local path = ("%s/%d_%s"):format(tmp, count, name)
	if text then
		local f = assert(io.open(path, "w"))
		f:write(text)
		f:close()
	end
	return path
end

local function config_text(options)
	local lines = {}
	local all = {}
	for k, v in pairs(defaults) do
		all[k] = v
	end
	for k, v in pairs(options) do
		all[k] = v
	end
	for k, v in pairs(all) do
		lines[#lines + 1] = ("%s = %s"):format(k, type(v) == "string" and ("%q"):format(v) or tostring(v))
	end
	return table.concat(lines, "\n") .. "\n"
end

--- Start any command.
function node.spawn(words)
	local pid, out, input = kit.spawn(words)
	local n = setmetatable({ pid = pid, out = out, input = input, text = "" }, node)
	running[n] = true
	return n
end

--- Start the binary with a configuration made from a table; `words` before it, as of a command
--- that runs another.
function node.start(options, words)
	words = table.move(words or {}, 1, #(words or {}), 1, {})
	words[#words + 1] = "./skynet"
	words[#words + 1] = node.file("config", config_text(options))
	return node.spawn(words)
end

--- Start the binary with a configuration given as text.
function node.start_text(text)
	return node.spawn { "./skynet", node.file("config", text) }
end

function node:pump(seconds)
	local bytes = kit.read(self.out, seconds)
	if bytes == "" then
		self.ended = true
	elseif bytes then
		self.text = self.text .. bytes
	end
	return bytes
end

-- The output so far, but for a line that isn't complete: what it says may change.
local function complete(self)
	return self.ended and self.text or self.text:match "^.*\n" or ""
end

--- Wait for text (a Lua pattern) in the output; returns its captures.
function node:expect(pattern, limit)
	local deadline = kit.now() + (limit or LIMIT)
	while true do
		local captures = table.pack(complete(self):find(pattern))
		if captures[1] then
			return table.unpack(captures, captures.n > 2 and 3 or 1, captures.n)
		end
		if self.ended or kit.now() > deadline then
			error(("no %q in the output:\n%s"):format(pattern, self.text), 2)
		end
		self:pump(0.2)
	end
end

--- Wait for the end; returns the exit code (negative: a signal).
function node:exit_code(limit)
	local deadline = kit.now() + (limit or LIMIT)
	while not self.ended and kit.now() < deadline do
		self:pump(0.2)
	end
	local code = kit.wait(self.pid, math.max(deadline - kit.now(), 1))
	if code == nil then
		error(("the process doesn't end:\n%s"):format(self.text), 2)
	end
	running[self] = nil
	return code
end

function node:signal(n)
	return kit.kill(self.pid, n)
end

--- Resident kilobytes: now, and the most there ever were.
function node:resident()
	local f <close> = assert(io.open(("/proc/%d/status"):format(self.pid)))
	local status = f:read "a"
	return tonumber(status:match "VmRSS:%s+(%d+)"), tonumber(status:match "VmHWM:%s+(%d+)")
end

--- How many descriptors it has open.
function node:descriptors()
	local open = 0
	local list <close> = assert(io.popen(("ls /proc/%d/fd"):format(self.pid)))
	for _ in list:lines() do
		open = open + 1
	end
	return open
end

-- Does every thread of the process stand still?
local function stopped(pid)
	local list <close> = assert(io.popen(("cat /proc/%d/task/*/stat"):format(pid)))
	for line in list:lines() do
		if not line:find "^%d+ %b() T" then
			return false
		end
	end
	return true
end

--- Freeze it; returns when none of its threads runs any more: a signal takes its time.
function node:freeze()
	self:signal(19)
	local deadline = kit.now() + LIMIT
	repeat
		assert(kit.now() < deadline, "the process doesn't stop")
	until stopped(self.pid)
end

--- End it now, whatever it does.
function node:kill()
	if running[self] then
		kit.kill(self.pid, 9)
		kit.wait(self.pid, 10)
		running[self] = nil
	end
	kit.close(self.out)
	kit.close(self.input)
end

function node.stop_all()
	for n in pairs(running) do
		n:kill()
	end
end

--- Call `f` until it returns something true; returns that.
function node.eventually(f, limit)
	local deadline = kit.now() + (limit or LIMIT)
	while true do
		local v = f()
		if v then
			return v
		end
		if kit.now() > deadline then
			error("this never came true", 2)
		end
		kit.sleep(0.02)
	end
end

return node
