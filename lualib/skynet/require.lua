--- A require whose modules may block, and the hooks that run before a service starts.
--
-- A module that is required in a coroutine runs in that coroutine, so its main function may
-- call other services. Other coroutines that want it meanwhile wait for it. Functions given to
-- `init` by a module run right after its main function; those given in the script's main chunk
-- run before the service's start function.

local M = {}

local mainthread, ismain = coroutine.running()
assert(ismain, "skynet.require must initialize in main thread")

-- thread -> hooks of the module it is loading; `false` once all have run on the main thread
local hooks = { [mainthread] = {} }
-- name -> { owner = thread, ... = waiting threads }
local loading = {}
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

-- Run the module's main function and its hooks in this coroutine.
local function execute(co, main, name, filename)
	local outer = hooks[co]
	local list = {}
	hooks[co] = list
	local ok, result = xpcall(function()
		local value = main(name, filename)
		run_hooks(list)
		return value
	end, with_traceback)
	hooks[co] = outer
	return ok, result
end

local function wait_for(name, job, co)
	if job.owner == co then
		error("circular dependency")
	end
	local skynet = require "skynet"
	job[#job + 1] = co
	skynet.wait(co)
	local value = package.loaded[name]
	if value == nil then
		error(("require %s failed"):format(name))
	end
	return value
end

local function wake_waiting(job)
	if #job > 0 then
		local skynet = require "skynet"
		for i = 1, #job do
			skynet.wakeup(job[i])
		end
	end
end

--- As the standard require; in a service coroutine the module may block while it loads.
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
	local filename = package.searchpath(name, package.path)
	local f = filename and loadfile(filename)
	if not f then
		return stock_require(name)
	end
	job = { owner = co }
	loading[name] = job
	local ok, result = execute(co, f, name, filename)
	loading[name] = nil
	if ok then
		if result ~= nil then
			package.loaded[name] = result
		elseif package.loaded[name] == nil then
			package.loaded[name] = true
		end
	end
	wake_waiting(job)
	if not ok then
		error(result, 0)
	end
	return package.loaded[name]
end

--- Run the hooks of the main chunk. The start coroutine does that.
function M.init_all()
	local list = hooks[mainthread]
	hooks[mainthread] = nil
	if list then
		run_hooks(list)
	end
end

--- Register a hook. Only in a main chunk, or while a module is being required.
---@param func function
function M.init(func)
	assert(type(func) == "function")
	local co = coroutine.running()
	table.insert(hooks[co], func)
end

return M
