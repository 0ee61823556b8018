--- A require whose modules may block, and the hooks that run before a service starts.
--
-- A module that is required in a coroutine runs in that coroutine, so its main function may
-- call other services. Other coroutines that want it meanwhile wait for it. Functions given to
-- `init` by a module run right after its main function; those given in the script's main chunk
-- run before the service's start function.
--
-- Modules are found as the standard require finds them: package.searchers, in order.

local M = {}

local mainthread, ismain = coroutine.running()
assert(ismain, "skynet.require must initialize in main thread")

-- hooks of the main chunk; nil once they have run
local main_hooks = {}
-- thread -> hooks of the module it is loading
local hooks = {}
-- name -> { owner = thread, ... = waiting threads }
local loading = {}
-- thread -> the entry of `loading` it waits for
local blocked = {}
local stock_require = require

local function run_hooks(list)
	for i = 1, #list do
		list[i]()
	end
end

local function with_traceback(err)
	if type(err) == "string" then
		return debug.traceback(err, 2)
	end
	return err
end

-- Would waiting for this job be waiting for ourselves?
local function check_circle(job, co)
	while job do
		if job.owner == co then
			error("circular dependency")
		end
		job = blocked[job.owner]
	end
end

local wait_meta = {
	__close = function(wait)
		blocked[wait.co] = nil
	end,
}

local function wait_for(name, job, co)
	check_circle(job, co)
	local skynet = require "skynet"
	do
		local _ <close> = setmetatable({ co = co }, wait_meta)
		job[#job + 1] = co
		blocked[co] = job
		skynet.wait(co)
	end
	local value = package.loaded[name]
	if value == nil then
		error(("require %s failed"):format(name))
	end
	return value
end

-- The end of a job, also when its coroutine is killed: those who wait go on.
local function finish(job)
	loading[job.name] = nil
	hooks[job.owner] = job.outer_hooks
	if #job > 0 then
		local skynet = require "skynet"
		for i = 1, #job do
			skynet.wakeup(job[i])
		end
	end
end

local job_meta = { __close = finish }

-- The function that makes the module, and what it's called with besides the name; nothing when
-- no searcher knows it.
local function find(name)
	for _, searcher in ipairs(package.searchers) do
		local loader, extra = searcher(name)
		if type(loader) == "function" then
			return loader, extra
		end
	end
end

-- Run the module's main function and its hooks in this coroutine.
local function load_module(name, loader, extra, co)
	local list = {}
	local job <close> = setmetatable({ name = name, owner = co, outer_hooks = hooks[co] }, job_meta)
	loading[name] = job
	hooks[co] = list
	local ok, result = xpcall(function()
		local value = loader(name, extra)
		run_hooks(list)
		return value
	end, with_traceback)
	if not ok then
		error(result, 0)
	elseif result ~= nil then
		package.loaded[name] = result
	elseif package.loaded[name] == nil then
		package.loaded[name] = true
	end
	return package.loaded[name]
end

--- As the standard require; in a service coroutine the module may block while it loads.
--- Raises what the module raises, with a traceback; `circular dependency`; and, where another
--- coroutine's load of the same module failed, `require <name> failed`.
---@param name string
---@return any
function M.require(name)
	local value = package.loaded[name]
	if value ~= nil then
		return value
	end
	local co, main = coroutine.running()
	if main then
		return stock_require(name)
	end
	local job = loading[name]
	if job then
		return wait_for(name, job, co)
	end
	local loader, extra = find(name)
	if not loader then
		return stock_require(name) -- it knows best how to tell
	end
	return load_module(name, loader, extra, co)
end

--- Run the hooks of the main chunk. The start coroutine does that.
function M.init_all()
	local list = main_hooks
	main_hooks = nil
	if list then
		run_hooks(list)
	end
end

--- Register a hook. Only in a main chunk, or while a module is being required.
---@param func function
function M.init(func)
	assert(type(func) == "function")
	local co = coroutine.running()
	table.insert(co == mainthread and main_hooks or hooks[co], func)
end

return M
