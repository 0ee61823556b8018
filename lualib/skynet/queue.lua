--- Critical sections: coroutines of one service that must not interleave.

local skynet = require "skynet"

local debug_protocol = require "skynet.debug"

local running = coroutine.running
local traceback = debug.traceback
local xpcall = xpcall
local error = error
local type = type

local function with_traceback(err)
	if type(err) == "string" then
		return traceback(err, 2)
	end
	return err
end

---@class skynet.lock
---@field owner thread?    coroutine inside
---@field depth integer    times it has entered
---@field waiting thread[] coroutines in line, from `first` to `last`
---@field first integer
---@field last integer

-- Let the next one in.
local function pass_on(lock)
	local waiting = lock.waiting
	lock.owner = nil
	while lock.first <= lock.last do
		local co = waiting[lock.first]
		waiting[lock.first] = nil
		lock.first = lock.first + 1
		lock.owner = co
		if co and skynet.wakeup(co) then -- false: it gave up
			return
		end
		lock.owner = nil
	end
	lock.first, lock.last = 1, 0
end

local function give_up(lock, co)
	for i = lock.first, lock.last do
		if lock.waiting[i] == co then
			lock.waiting[i] = false
		end
	end
end

-- Wait in line. Who is killed there leaves it, also when it has just become the owner.
local function wait_in_line(lock, co)
	lock.last = lock.last + 1
	lock.waiting[lock.last] = co
	debug_protocol.locks[co] = lock
	local _ <close> = setmetatable({}, { __close = function()
		debug_protocol.locks[co] = nil
		if lock.owner ~= co then
			give_up(lock, co)
		elseif lock.depth == 0 then
			pass_on(lock) -- killed between its turn and its first step
		end
	end })
	skynet.wait(co)
	-- woken by somebody else than the one that left?
	assert(lock.owner == co, "skynet.queue: a waiting coroutine was woken from outside")
	lock.depth = 1
end

local function enter(lock, co)
	if lock.owner == co then
		lock.depth = lock.depth + 1
	elseif lock.owner == nil then
		lock.owner = co
		lock.depth = 1
	else
		wait_in_line(lock, co)
	end
end

-- A lock is its own to-be-closed variable: leaving happens in order, by an error, or because the
-- coroutine was killed.
local lock_meta = {
	__close = function(lock)
		lock.depth = lock.depth - 1
		if lock.depth == 0 then
			pass_on(lock)
		end
	end,
}

local function finish(ok, err, ...)
	if not ok then
		error(err)
	end
	return err, ...
end

local function run(lock, f, ...)
	enter(lock, running())
	local _ <close> = lock
	return finish(xpcall(f, with_traceback, ...))
end

--- Make a critical section: a function that runs f(...) while no other coroutine is inside,
--- in the order they came, and returns its results. The same coroutine may enter again. What f
--- raises is raised again, strings with a traceback. A coroutine that is killed inside or in
--- line is as if it had left.
---@return fun(f: function, ...): ...
function skynet.queue()
	local lock = setmetatable({ depth = 0, waiting = {}, first = 1, last = 0 }, lock_meta)
	return function(...)
		return run(lock, ...)
	end
end

return skynet.queue
