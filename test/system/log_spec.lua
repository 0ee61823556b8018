-- The log: levels, rotation, a queue with an end, and files that go wrong.

local kit = require "testkit"
local node = require "node"

local function read(path)
	local f = io.open(path)
	if f then
		local text = f:read "a"
		f:close()
		return text
	end
end

local function count(text, pattern)
	return select(2, text:gsub(pattern, ""))
end

-- A node that logs each line it's given.
local function start(options)
	options.start = "logs each"
	local n = node.start(options)
	return n
end

local function say(n, ...)
	for _, line in ipairs { ... } do
		kit.write(n.input, line .. "\n", 10)
	end
end

local function wait_for(path, pattern)
	return node.eventually(function()
		local text = read(path)
		return text and text:find(pattern) and text
	end)
end

describe("log levels", function()
	it("filter tagged lines, and leave plain ones alone", function()
		local n = node.start { start = "logs levels" }
		assert.equal(0, n:exit_code())
		local function lines(level)
			local list = {}
			for name in n.text:gmatch("%[:%x+%] %[(%u+)%] " .. level .. " ") do
				list[#list + 1] = name
			end
			return table.concat(list, " ")
		end
		assert.equal("INFO WARN ERROR", lines "info")
		assert.equal("DEBUG INFO WARN ERROR", lines "debug")
		assert.equal("WARN ERROR", lines "warn")
		assert.equal("ERROR", lines "error")
		assert.truthy(n.text:find "%[:%x+%] %[WARN%] warn warn true\n")
		assert.truthy(n.text:find "\n%[:%x+%] plain\n")
		assert.truthy(n.text:find "no log level loud: use debug, info, warn or error")
	end)

	it("come from the configuration", function()
		local n = node.start { start = "logs levels", log_level = "warn" }
		n:exit_code()
		assert.truthy(n.text:find "%[WARN%] warn warn")
		n = node.start { start = "logs levels", log_level = "loud" }
		assert.equal(1, n:exit_code())
		assert.truthy(n.text:find 'log_level = "loud" is none of debug, info, warn, error')
	end)
end)

describe("the log queue", function()
	it("has an end; what is dropped is counted and told", function()
		local n = node.start { start = "logs flood 60000", log_queue = 1 }
		assert.equal(0, n:exit_code())
		local written = count(n.text, "line %d+ x+")
		local dropped = 0
		for k in n.text:gmatch "error: (%d+) log lines were dropped" do
			dropped = dropped + tonumber(k)
		end
		assert.equal(60000, written + dropped)
		assert.truthy(dropped > 0)
		assert.truthy(n.text:find "error: the log queue is full")
		assert.truthy(n.text:find "after the flood")
	end)

	it("loses nothing within its bounds", function()
		local n = node.start { start = "logs flood 60000" }
		assert.equal(0, n:exit_code())
		assert.equal(60000, count(n.text, "line %d+ x+"))
		assert.falsy(n.text:find "dropped")
	end)

	it("is written to the end when the node ends", function()
		local n = node.start { start = "logs last" }
		assert.equal(0, n:exit_code())
		assert.equal(1000, count(n.text, "last words"))
	end)
end)

describe("a log file", function()
	it("rotates by size, and keeps so many", function()
		local path = node.file "log"
		local n = start { logger = path, log_max_size = "1K", log_keep = 2 }
		for i = 1, 100 do
			say(n, ("%03d %s"):format(i, ("x"):rep(60)))
		end
		wait_for(path, "100 x")
		n:signal(15)
		assert.equal(0, n:exit_code())
		local now, one, two = read(path), read(path .. ".1"), read(path .. ".2")
		assert.is_nil(read(path .. ".3"))
		assert.truthy(#one > 1000 and #one < 1200)
		assert.truthy(#two > 1000 and #two < 1200)
		-- in order, without a gap, whole lines
		local expected
		for i in (two .. one .. now):gmatch "%] (%d%d%d) x+\n" do
			assert.equal(expected or tonumber(i), tonumber(i))
			expected = tonumber(i) + 1
		end
		assert.equal(101, expected)
	end)

	it("rotates what an earlier day left", function()
		local path = node.file("log", "yesterday's line\n")
		os.execute(("touch -d '2 days ago' %s"):format(path))
		local n = start { logger = path, log_rotate = "daily" }
		say(n, "today's line")
		wait_for(path, "today's line")
		assert.equal("yesterday's line\n", read(path .. ".1"))
		n:kill()
	end)

	it("refuses a configuration that makes no sense", function()
		for key, value in pairs { log_max_size = "10X", log_rotate = "weekly", log_keep = "-1" } do
			local n = start { logger = node.file "log", [key] = value }
			assert.equal(1, n:exit_code())
			assert.truthy(n.text:find(key .. " ="), n.text)
		end
	end)

	it("is made anew when it was moved or removed", function()
		local path = node.file "log"
		local n = start { logger = path }
		say(n, "first")
		wait_for(path, "first")
		os.rename(path, path .. ".moved")
		node.eventually(function()
			say(n, "again")
			kit.sleep(0.2)
			return read(path)
		end)
		os.remove(path)
		node.eventually(function()
			say(n, "once more")
			kit.sleep(0.2)
			return read(path)
		end)
		n:kill()
	end)

	it("goes on when its folder vanishes, and says so", function()
		local folder = node.file "folder"
		os.execute("mkdir -p " .. folder)
		local path = folder .. "/log"
		local n = start { logger = path }
		say(n, "first")
		wait_for(path, "first")
		os.execute("rm -r " .. folder)
		node.eventually(function()
			say(n, "into the void")
			n:pump(0.2)
			return n.text:find("the log " .. path .. " is gone and can't be made", 1, true)
		end)
		n:expect "%[:%x+%] into the void\n" -- on stderr
		os.execute("mkdir -p " .. folder)
		node.eventually(function()
			say(n, "back")
			kit.sleep(0.2)
			local text = read(path)
			return text and text:find "the log is back"
		end)
		n:kill()
	end)

	it("goes on when the disk is full, and counts what is lost", function()
		local link = node.file "link"
		os.execute(("ln -s /dev/full %s"):format(link))
		local n = start { logger = link }
		n:expect("can't write the log .*: No space left on device")
		say(n, "lost")
		local path = node.file "log"
		os.execute(("ln -sf %s %s"):format(path, link))
		kit.sleep(0.5)
		n:signal(1) -- space again
		node.eventually(function()
			say(n, "written")
			kit.sleep(0.2)
			local text = read(path)
			return text and text:find "the log is incomplete: %d+ lines could not be written"
		end)
		n:kill()
	end)

	it("says why it can't be opened at all", function()
		local n = start { logger = "/no/such/folder/log" }
		assert.equal(1, n:exit_code())
		assert.truthy(n.text:find "can't open the log /no/such/folder/log: No such file or directory")
		assert.truthy(n.text:find "Can't launch logger service")
	end)
end)

describe("a message log", function()
	it("ends with one line when its disk is full", function()
		local folder = node.file "folder"
		os.execute(("mkdir -p %s"):format(folder))
		os.execute(("ln -s /dev/full %s/00000008.log"):format(folder))
		local n = node.start { start = "hooked", logpath = folder }
		n:kill()
		local code = [[
			local core = require "skynet.core"
			local skynet = require "skynet"
			skynet.start(function()
				core.command("LOGON", ":00000008")
				skynet.sleep(1)
				skynet.sleep(1)
				print "still here"
				io.stdout:flush()
			end)
		]]
		local script = folder .. "/logged.lua"
		local f = io.open(script, "w")
		f:write(code)
		f:close()
		n = node.start { start = "logged", logpath = folder,
			luaservice = "./service/?.lua;" .. folder .. "/?.lua" }
		n:expect "still here"
		n:expect "the message log is given up: No space left on device"
		n:kill()
	end)
end)
