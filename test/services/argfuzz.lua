--- Calls every function of one C module with wrong arguments: `argfuzz <library> <open function>
--- [function]`. Prints "calling <function>" before each; with a function given, also every list
--- of arguments it tries. Ends the node with "survived <calls>".

local skynet = require "skynet"
local core = require "skynet.core"

local library, open, only = ...

-- What must not be called: it ends the service, blocks for good, or waits for names to resolve.
local skip = {
	["skynet.dispatch.leave"] = "ends all coroutines",
	["skynet.core.callback"] = "replaces the dispatcher",
	["skynet.dispatch.setup"] = "replaces the dispatcher",
	["skynet.memory.dumpinfo"] = "prints pages of statistics",
	["skynet.debugchannel.create.read"] = "blocks its worker for as long as it's told",
	["client.socket.close"] = "closes descriptors of the process, as it's made to",
	["client.socket.shutdown"] = "shuts descriptors of the process down, as it's made to",
	["client.socket.readstdin"] = "ends the process at the end of input, as it's made to",
	["client.socket.usleep"] = "sleeps for as long as it's told",
	["clientsocket.usleep"] = "as client.socket.usleep",
	["clientsocket.close"] = "as client.socket.close",
	["clientsocket.shutdown"] = "as client.socket.shutdown",
	["clientsocket.readstdin"] = "as client.socket.readstdin",
}

local function pointer(n)
	return (core.unpack(string.pack("<B I8", 3, n)))
end

-- Names and values.
local function make_values()
	return {
		{ "nil" }, -- no value
		{ "true", true },
		{ "-1", -1 },
		{ "0", 0 },
		{ "1", 1 },
		{ "2^31", 1 << 31 },
		{ "maxinteger", math.maxinteger },
		{ "mininteger", math.mininteger },
		{ "1.5", 1.5 },
		{ "''", "" },
		{ "'x'", "\0x" }, -- no host has this name
		{ "garbage", ("\xff\x07\xfe"):rep(20) },
		{ "{}", {} },
		{ "{1,2}", { 1, 2, x = {} } },
		{ "function", function() end },
		{ "thread", coroutine.create(function() end) },
		{ "file", io.tmpfile() },
		{ "NULL", pointer(0) },
		{ "pointer 1", pointer(1) },
		{ "pointer 4096", pointer(4096) },
	}
end

local calls = 0
local current

local function call(f, names, ...)
	calls = calls + 1
	if only then
		print("arguments", names)
		io.stdout:flush()
	end
	-- in a coroutine of its own: it may block
	local co = coroutine.create(f)
	local ok, result = coroutine.resume(co, ...)
	return ok and result or nil
end

-- Every value alone and everywhere, every pair, and pairs followed by more of one kind.
local function try_all(f, found)
	local values = make_values()
	local function try(...)
		local names, list = {}, {}
		for i = 1, select("#", ...) do
			local v = select(i, ...)
			names[i], list[i] = v[1], v[2]
		end
		found(call(f, table.concat(names, ", "), table.unpack(list, 1, #names)))
	end
	found(call(f, ""))
	for _, a in ipairs(values) do
		try(a)
		try(a, a, a)
		try(a, a, a, a, a, a, a)
		for _, b in ipairs(values) do
			try(a, b)
			try(a, b, b)
			try(a, a, b)
			try(b, a, a, b, b)
		end
	end
end

local seen = {}
local try_table

-- What a function returned may have methods, or be a function.
local function look_into(name, result)
	local meta = type(result) == "userdata" and debug.getmetatable(result)
	if type(result) == "function" and not seen[result] and debug.getinfo(result, "S").what == "C" then
		seen[result] = true
		try_table(name, { ["()"] = result })
	elseif meta and not seen[meta] then
		seen[meta] = true
		try_table(name, meta)
		if type(meta.__index) == "table" and meta.__index ~= meta then
			try_table(name, meta.__index, result)
		end
	end
end

function try_table(prefix, t, self)
	local names = {}
	for k, v in pairs(t) do
		if type(v) == "function" and type(k) == "string" and k ~= "__gc" and k ~= "__close" then
			names[#names + 1] = k
		end
	end
	table.sort(names)
	for _, k in ipairs(names) do
		local name = prefix .. "." .. k
		if not skip[name] and not seen[name] and (not only or only:find(name, 1, true) == 1) then
			seen[name] = true
			current = name
			print("calling", name)
			io.stdout:flush()
			local f = t[k]
			try_all(f, function(result)
				look_into(name, result)
			end)
			if self then -- as a method
				try_all(function(...)
					return f(self, ...)
				end, function() end)
			end
		end
	end
end

-- As require does it: a name's underscores are dots.
local function module_name()
	return (open:gsub("^luaopen_", ""):gsub("_", "."))
end

skynet.start(function()
	skynet.fork(function()
		local loader = assert(package.loadlib(library, open))
		local ok, module = pcall(loader, module_name())
		if ok and type(module) == "table" then
			try_table(module_name(), module)
		end
		collectgarbage()
		collectgarbage()
		print("survived", calls, current)
		io.stdout:flush()
		os.exit(true) -- nothing that was started by accident is worth an orderly end
	end)
end)
