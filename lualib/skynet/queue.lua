--- Critical sections: coroutines of one service that must not interleave.

local skynet = require "skynet"

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

--- Make a critical section: a function that runs f(...) while no other coroutine is inside,
--- in the order they came, and returns its results. The same coroutine may enter again. What f
--- raises is raised again, strings with a traceback.
---@return fun(f: function, ...): ...
function skynet.queue()
	local owner -- coroutine inside
	local depth = 0
	local waiting = {} -- coroutines in line, from first to last
	local first, last = 1, 0

	local function enter(co)
		if owner == nil then
			owner = co
			return
		end
		last = last + 1
		waiting[last] = co
		skynet.wait(co)
		-- woken by somebody else than the one that left?
		assert(owner == co, "skynet.queue: a waiting coroutine was woken from outside")
	end

	local function leave()
		depth = depth - 1
		if depth > 0 then
			return
		end
		owner = nil
		-- a coroutine that was killed while it waited can't be woken
		while first <= last do
			local co = waiting[first]
			waiting[first] = nil
			first = first + 1
			owner = co
			if skynet.wakeup(co) then
				return
			end
			owner = nil
		end
		first, last = 1, 0
	end

	local function finish(ok, err, ...)
		leave()
		if not ok then
			error(err)
		end
		return err, ...
	end

	return function(f, ...)
		local co = running()
		if owner ~= co then
			enter(co)
		end
		depth = depth + 1
		return finish(xpcall(f, with_traceback, ...))
	end
end

return skynet.queue
