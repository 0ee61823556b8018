--- Coroutines that may call blocking skynet functions.
--
-- A coroutine made here yields "USER" and its values to the resume below, while a blocking call
-- yields "SUSPEND": resume passes that on to its own caller, so the whole chain blocks, and when
-- the framework resumes the chain, hands the answer down again.

local coroutine = coroutine
local resume = coroutine.resume
local yield = coroutine.yield
local running = coroutine.running
local status = coroutine.status
local close = coroutine.close
local isyieldable = coroutine.isyieldable
local create = coroutine.create
local error = error

---@class skynet.coroutine : coroutinelib
local skynetco = {
	isyieldable = isyieldable,
	running = running,
}

-- Coroutine made here -> the framework's thread that resumed it last, or false before that.
-- While it's blocked in the framework: see `blocked`.
local owner = setmetatable({}, { __mode = "kv" })
local made = setmetatable({}, { __mode = "k" })
local blocked = setmetatable({}, { __mode = "k" })

---@param f function
---@return thread
function skynetco.create(f)
	local co = create(f)
	made[co] = true
	return co
end

--- The framework's thread behind `co`.
---@param co thread|nil  default: the running one
---@return thread|nil root, boolean is_framework  nil and false before its first resume
function skynetco.thread(co)
	co = co or running()
	if made[co] and status(co) ~= "dead" then
		return owner[co], false
	end
	return co, true
end

local resume_step

-- What came back from the coroutine: its end, a yield for us, or a blocking call below.
local function came_back(co, from, ok, what, ...)
	if not ok then
		return false, what
	end
	if status(co) == "dead" then
		return true, what, ...
	end
	if what == "USER" then
		return true, ...
	end
	-- the framework wants the whole chain to stop
	blocked[co] = true
	return resume_step(co, from, yield(what, ...))
end

function resume_step(co, from, ...)
	blocked[co] = nil
	return came_back(co, from, resume(co, ...))
end

--- As coroutine.resume, for coroutines made by this module.
---@param co thread
---@param ... any
---@return boolean ok, any ...
function skynetco.resume(co, ...)
	if not made[co] then
		return false, "cannot resume none skynet coroutine"
	end
	if blocked[co] then
		return false, "cannot resume a skynet coroutine suspend by skynet framework"
	end
	local from = running()
	owner[co] = made[from] and owner[from] or from
	return came_back(co, from, resume(co, ...))
end

---@param co thread
---@return string  one of coroutine.status, or "blocked"
function skynetco.status(co)
	local s = status(co)
	if s == "suspended" and blocked[co] then
		return "blocked"
	end
	return s
end

--- Give values to the resume that runs this coroutine.
---@param ... any
---@return any ...  what the next resume passes
function skynetco.yield(...)
	return yield("USER", ...)
end

local function results(ok, ...)
	if ok then
		return ...
	end
	error((...))
end

---@param f function
---@return function
function skynetco.wrap(f)
	local co = skynetco.create(f)
	return function(...)
		return results(skynetco.resume(co, ...))
	end
end

--- Forget and close a coroutine, blocked or not.
---@param co thread
---@return boolean ok, any err
function skynetco.close(co)
	made[co] = nil
	owner[co] = nil
	blocked[co] = nil
	return close(co)
end

return skynetco
