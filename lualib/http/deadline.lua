--- Deadlines of sockets: a connection that isn't done in time is shut down, which ends every
--- read on it with a failure.
--
-- Setting and clearing cost an assignment, because both happen for every request: no timer
-- belongs to a socket. One coroutine per service sleeps until the earliest deadline it knows,
-- looks at all of them, and goes on; a deadline that was moved meanwhile costs it nothing.

local skynet = require "skynet"
local socket = require "skynet.socket"

local now = skynet.now

local CROWD = 100 -- so many sockets make the sweep a centisecond coarser

---@class http.deadline
local deadline = {}

local due = {} -- socket id -> time, centiseconds
local expired = {} -- socket id -> true: was shut down, and nobody has asked why yet
local sweeper, wake_at

local function expire(id)
	due[id] = nil
	if not socket.invalid(id) then
		expired[id] = true
		socket.shutdown(id)
	end
end

-- Shut down what is late. Returns how long to sleep, or nil when no deadline is left.
local function sweep()
	local time, first, count = now(), math.huge, 0
	for id, t in pairs(due) do
		if t <= time then
			expire(id)
		else
			count = count + 1
			if t < first then
				first = t
			end
		end
	end
	if count > 0 then
		wake_at = math.max(first, time + 1 + count // CROWD)
		return wake_at - time
	end
end

local function run()
	local pause = sweep()
	while pause do
		skynet.sleep(pause)
		pause = sweep()
	end
	sweeper = nil
end

--- Shut the socket down unless this is called again, or cleared, within `ticks`.
---@param id integer
---@param ticks integer  centiseconds
function deadline.set(id, ticks)
	local time = now() + ticks
	due[id] = time
	if not sweeper then
		wake_at = time
		sweeper = skynet.fork(run)
	elseif time < wake_at then
		wake_at = time
		skynet.wakeup(sweeper)
	end
end

--- Give a socket with a deadline more time.
---@param id integer
---@param ticks number  centiseconds
function deadline.extend(id, ticks)
	local time = due[id]
	if time then
		due[id] = time + ticks
	end
end

--- There is no deadline any more.
---@param id integer
---@return boolean expired  it was shut down for being late
function deadline.clear(id)
	due[id] = nil
	if expired[id] then
		expired[id] = nil
		return true
	end
	return false
end

return deadline
