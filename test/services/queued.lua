--- Handles messages by skynet.mqueue, as its argument to each says.

local skynet = require "skynet"
local mqueue = require "skynet.mqueue"

local log = {}
local inside = 0
local worker

mqueue.register(function(what, ...)
	assert(inside == 0, "two at once")
	inside = inside + 1
	worker = coroutine.running()
	local _ <close> = setmetatable({}, { __close = function() inside = inside - 1 end })
	if what == "sleep" then
		skynet.sleep((...))
	elseif what == "fail" then
		error((...), 0)
	elseif what == "unpackable" then
		return print
	elseif what == "log" then
		return table.concat(log, " ")
	elseif what == "size" then
		return mqueue.size()
	end
	log[#log + 1] = what
	return ...
end)

skynet.start(function()
	skynet.dispatch("lua", function(_, _, cmd)
		if cmd == "kill" then
			skynet.killthread(worker)
		end
		skynet.retpack(mqueue.size())
	end)
end)
