--- A snax service for specs: state in locals, methods of both groups, all system functions.

local skynet = require "skynet"
local snax = require "skynet.snax"
local helper = require "snaxhelper" -- luacheck: ignore

local n = 0
local log = {}
local waiting

local function add(by)
	n = n + by
	return n
end

function accept.add(by)
	add(by)
end

function accept.boom()
	error "boom of accept"
end

function response.add(by)
	return add(by)
end

function response.get(...)
	return n, ...
end

function response.boom()
	error "boom of response"
end

function response.hold()
	waiting = coroutine.running()
	skynet.wait(waiting)
	return "held", n
end

function accept.release()
	skynet.wakeup(waiting)
end

function response.where()
	return SERVICE_NAME, SERVICE_PATH, helper.text(), _ENV == _G, tostring(snax.self())
end

function response.leave(...)
	snax.exit(...)
end

function response.enable()
	snax.enablecluster()
	snax.printf("%s is open to the cluster, %d", SERVICE_NAME, 1)
end

function response.spin()
	for _ = 1, 100000 do -- luacheck: ignore
	end
end

GLOBAL_OF_COUNTER = "set" -- luacheck: ignore

function init(how, ...)
	if how == "fail" then
		error "init fails on purpose"
	elseif how == "slow" then
		skynet.sleep(20)
	elseif how == "exit" then
		skynet.exit()
	elseif how == "tell" then
		local whom, address = ...
		skynet.call(whom, "lua", address or skynet.self())
	elseif type(how) == "number" then
		n = how
	end
	log[#log + 1] = how
end

function exit(how, whom)
	if how == "fail" then
		error "exit fails on purpose"
	elseif how == "slow" then
		skynet.sleep(20)
	end
	if whom then
		skynet.send(whom, "lua", "exit ran", how)
	end
end
