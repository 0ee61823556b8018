--- Does what a service shouldn't, when it's asked to.

local skynet = require "skynet"
local queue = require "skynet.queue"
local socket = require "skynet.socket"

local limit = ...
if limit then
	skynet.memlimit(tonumber(limit))
end

skynet.register_protocol {
	name = "broken",
	id = 80,
	pack = skynet.pack,
	unpack = function()
		error "unpack fails on purpose"
	end,
	dispatch = function() end,
}

local command = {}

function command.echo(...)
	return ...
end

function command.grow()
	local t = {}
	while true do
		t[#t + 1] = ("x"):rep(1000) .. #t
	end
end

function command.loop()
	while true do end -- luacheck: ignore
end

function command.nested_loop()
	local co = coroutine.wrap(function()
		coroutine.wrap(function()
			while true do end -- luacheck: ignore
		end)()
	end)
	co()
end

-- an endless loop that catches errors: one signal breaks one round of it
function command.stubborn()
	local broken = 0
	while broken < 2 do
		if not pcall(function()
			while true do end -- luacheck: ignore
		end) then
			broken = broken + 1
		end
	end
	return broken
end

function command.timer()
	skynet.timeout(0, function()
		error "timer fails on purpose"
	end)
end

function command.fork()
	skynet.fork(error, "fork fails on purpose")
end

function command.gc()
	setmetatable({}, { __gc = function()
		error "gc fails on purpose"
	end })
	collectgarbage()
	collectgarbage()
end

function command.close()
	local _ <close> = setmetatable({}, { __close = function()
		error "close fails on purpose"
	end })
end

function command.close_after_error()
	local _ <close> = setmetatable({}, { __close = function()
		error "close fails on purpose, too"
	end })
	error "handler fails on purpose"
end

function command.response()
	local first = true
	local r = skynet.response(function(...)
		if first then
			first = false
			error "packfunc fails on purpose"
		end
		return skynet.pack(...)
	end)
	pcall(r, true, 1)
	r(true, "second try")
	return "answered"
end

function command.strange_error()
	error(setmetatable({}, { __tostring = function()
		error "tostring fails on purpose"
	end }))
end

function command.park()
	coroutine.yield()
end

function command.yield_word()
	coroutine.yield "WORD"
end

function command.nil_error()
	error(nil)
end

function command.overflow()
	local function f()
		return 1 + f()
	end
	return f()
end

-- a listener whose callback raises; returns its port
function command.listen()
	local id, _, port = socket.listen("127.0.0.1", 0)
	socket.start(id, function(new)
		socket.close_fd(new)
		error "accept fails on purpose"
	end)
	return port
end

function command.queue()
	return queue()(error, "inside the queue")
end

skynet.start(function()
	skynet.dispatch("lua", function(_, _, cmd, ...)
		local results = table.pack(command[cmd](...))
		if results[1] ~= "answered" then
			skynet.retpack(table.unpack(results, 1, results.n))
		end
	end)
end)
