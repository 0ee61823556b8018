--- Hosts one snax service: `snaxd NAME`.
--
-- Loads the service's file in this VM's own environment and dispatches requests, a method's
-- number and its arguments, to the functions the file defines. Nothing but `init` is served
-- before it returned. When init raises, the service ends: its starter gets an error, and nobody
-- else has its address.

local skynet = require "skynet"
local snax = require "skynet.snax"
local snax_interface = require "snax.interface"
local hotfix = require "snax.hotfix"
local profile = require "skynet.profile"

local name = assert(..., "snaxd needs the name of a snax service")

-- The service's modules may lie in a folder of its name, beside its file.
local function find_modules(pattern)
	assert(type(pattern) == "string",
		"snax_loader must return the file's main function and the template it was found by")
	SERVICE_NAME = name
	SERVICE_PATH = pattern:match "^[^?]*" .. name .. "/"
	package.path = SERVICE_PATH .. "?.lua;" .. package.path
end

local function load_service()
	local file = skynet.getenv "snax_loader"
	local loader = file and assert(dofile(file), "snax_loader must return a function")
	return (snax_interface(name, _ENV, loader, find_modules))
end

local funcs = load_service()
local profile_table = {} -- method -> { count =, time = }
local state = "new" -- then "starting", "ready"

---------------------------------------------------------------------------------------------
-- System functions

local function nothing() end

-- Raise an error in the handler, and end this service after it.
local function fail(err)
	skynet.fork(skynet.exit)
	error(err, 0)
end

local system = {}

function system.init(f, ...)
	if state ~= "new" then
		error "Already init"
	end
	state = "starting"
	local ok, err = xpcall(f or nothing, debug.traceback, ...)
	if not ok then
		fail(err)
	end
	state = "ready"
	skynet.info_func(function()
		return profile_table
	end)
	skynet.ret()
end

local ending -- answers owed to those who asked to end this service while it does

function system.exit(f, ...)
	if state ~= "ready" then
		error "Never init"
	elseif ending then
		ending[#ending + 1] = skynet.response()
		return
	end
	ending = {}
	local ok, err = xpcall(f or nothing, debug.traceback, ...)
	if not ok then
		fail(err)
	end
	skynet.ret()
	for _, response in ipairs(ending) do
		response(true)
	end
	skynet.exit()
end

function system.hotfix(_, ...)
	skynet.retpack(hotfix(funcs, ...))
end

function system.profile()
	skynet.retpack(profile_table)
end

---------------------------------------------------------------------------------------------
-- Methods

local function record_of(method)
	local record = profile_table[method]
	if not record then
		record = { count = 0, time = 0 }
		profile_table[method] = record
	end
	return record
end

local function stop_timing(record, ...)
	record.time = record.time + profile.stop()
	return ...
end

local function timed(method, f, ...)
	local record = record_of(method)
	record.count = record.count + 1
	profile.start()
	return stop_timing(record, f(...))
end

local function dispatch(_, _, id, ...)
	local entry = funcs[id]
	if entry == nil then
		error(("snax service %s has no method %s"):format(name, tostring(id)))
	end
	local group, method, f = entry[2], entry[3], entry[4]
	if group == "system" then
		system[method](f, ...)
	elseif state ~= "ready" then
		error "Init first"
	elseif group == "response" then
		skynet.retpack(timed(method, f, ...))
	else
		timed(method, f, ...)
	end
end

skynet.start(function()
	skynet.dispatch("snax", dispatch)

	--- Serve requests that come from other nodes of the cluster, through cluster.snax.
	function snax.enablecluster()
		skynet.dispatch("lua", dispatch)
	end
end)
