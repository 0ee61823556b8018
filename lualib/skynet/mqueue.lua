--- Messages that are handled strictly one at a time, in order. Deprecated: skynet.queue does the
--- same for parts of any handler.
--
-- Protocol `queue`. A request's answer is (true, results...) or (false, error text), so that the
-- caller gets the text.

local skynet = require "skynet"

local mqueue = {}

local handler
local waiting = {} -- messages, from first to last
local first, last = 1, 0
local worker -- the coroutine that handles them; nil while there's nothing to do
local current -- the message it's at

local function answer(message, ...)
	local respond = message.respond
	if respond then
		local ok, err = pcall(respond, true, ...)
		if not ok then -- a result that can't be packed
			respond(true, false, tostring(err))
		end
	elseif not ... then
		skynet.error(("mqueue: a message from %s failed: %s"):format(
			skynet.address(message.source), select(2, ...)))
	end
end

local function explain(message, err)
	if message.respond then
		return tostring(err)
	end
	return debug.traceback(tostring(err), 2)
end

local function handle(message)
	current = message
	answer(message, xpcall(handler, function(err)
		return explain(message, err)
	end, table.unpack(message, 1, message.n)))
	current = nil
end

local work

-- Also when the worker is killed in the middle of a message: the next one goes on.
local restart = setmetatable({}, {
	__close = function()
		worker = nil
		if current then
			answer(current, false, "the handler was killed")
			current = nil
		end
		if first <= last then
			worker = skynet.fork(work)
		end
	end,
})

function work()
	local _ <close> = restart
	while first <= last do
		local message = waiting[first]
		waiting[first] = nil
		first = first + 1
		handle(message)
	end
	first, last = 1, 0
end

local function start()
	if handler and not worker and first <= last then
		worker = skynet.fork(work)
	end
end

skynet.register_protocol {
	name = "queue",
	id = skynet.PTYPE_QUEUE,
	pack = skynet.pack,
	unpack = skynet.unpack,
	dispatch = function(session, source, ...)
		local message = table.pack(...)
		message.source = source
		message.respond = session ~= 0 and skynet.response() or nil
		last = last + 1
		waiting[last] = message
		start()
	end,
}

--- Set the function that handles the queue's messages, once. What came before waits for it.
---@param f fun(...): any  may block; the next message waits
function mqueue.register(f)
	assert(type(f) == "function", "mqueue.register needs a function")
	assert(handler == nil, "mqueue.register was called already")
	handler = f
	start()
end

local function results(ok, ...)
	if ok then
		return ...
	end
	error(..., 0)
end

--- Ask a service that uses a queue, and wait for its answer.
--- Raises the text of the error that the other side's function raised, or `call failed`.
---@param addr integer|string
---@param ... any
---@return any ...
function mqueue.call(addr, ...)
	return results(skynet.call(addr, "queue", ...))
end

--- Send to a service that uses a queue.
---@param addr integer|string
---@param ... any
---@return integer|false|nil  as skynet.send
function mqueue.send(addr, ...)
	return skynet.send(addr, "queue", ...)
end

--- Messages that wait, the one that's being handled not counted.
---@return integer
function mqueue.size()
	return last - first + 1
end

return mqueue
