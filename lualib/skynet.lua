--- The service framework: what every Lua service requires first.
--
-- Messages are dispatched, coroutines are kept and calls are matched to their answers in C
-- (modules skynet.core and skynet.dispatch); this file is the policy around it: protocols,
-- starting and leaving, looking into a service.
--
-- Units: a "cs" is a centisecond (10 ms). An address is an integer handle, or text: ":hex",
-- ".local name", or a global name.

local c = require "skynet.core"
local d = require "skynet.dispatch"
local require_hooks = require "skynet.require"

local assert = assert
local pairs = pairs
local pcall = pcall
local tostring = tostring
local type = type
local traceback = debug.traceback

---@class skynet
local skynet = d.table(100)

skynet.PTYPE_TEXT = 0
skynet.PTYPE_RESPONSE = 1
skynet.PTYPE_MULTICAST = 2
skynet.PTYPE_CLIENT = 3
skynet.PTYPE_SYSTEM = 4
skynet.PTYPE_HARBOR = 5
skynet.PTYPE_SOCKET = 6
skynet.PTYPE_ERROR = 7
skynet.PTYPE_QUEUE = 8
skynet.PTYPE_DEBUG = 9
skynet.PTYPE_LUA = 10
skynet.PTYPE_SNAX = 11
skynet.PTYPE_TRACE = 12

skynet.cache = require "skynet.codecache"

---------------------------------------------------------------------------------------------
-- Protocols

local proto = {}
skynet._proto = proto

--- Register a message protocol. The table is kept by reference: its pack, unpack and dispatch
--- may be replaced later.
--- Raises `assertion failed!` when the name or the id is taken or of a wrong type.
---@param class table  { name = string, id = 0..255, pack = function, unpack = function,
---                      dispatch = function|nil, trace = boolean|nil }
function skynet.register_protocol(class)
	local name = class.name
	local id = class.id
	assert(proto[name] == nil and proto[id] == nil)
	assert(type(name) == "string" and type(id) == "number" and id >= 0 and id <= 255)
	proto[name] = class
	proto[id] = class
	if class.trace ~= nil then
		d.tracing()
	end
end

--- Set or get the handler of a protocol.
---@param typename string|integer  protocol name or id
---@param func function|nil  handler(session, source, ...); nil: only return the current one
---@return function|nil previous
function skynet.dispatch(typename, func)
	local p = proto[typename]
	if func then
		local previous = p.dispatch
		p.dispatch = func
		return previous
	end
	return p and p.dispatch
end

--- Trace requests of a protocol: true: always, false: never, nil: when the requester does.
---@param prototype string|integer
---@param flag boolean|nil
function skynet.traceproto(prototype, flag)
	local p = assert(proto[prototype])
	p.trace = flag
	d.tracing()
end

---------------------------------------------------------------------------------------------
-- Sending, calling, answering

skynet.genid = c.genid
skynet.pack = c.pack
skynet.packstring = c.packstring
skynet.unpack = c.unpack
skynet.tostring = c.tostring
skynet.trash = c.trash

--- Send a message, expecting no answer. Never blocks.
---@type fun(addr: integer|string, typename: string|integer, ...): integer|false|nil
--- 0 when sent, nothing when the address is invalid, false when the message is too large.
skynet.send = d.send

--- Send a message that is packed already.
---@type fun(addr: integer|string, typename: string|integer,
--- msg: string|lightuserdata, sz: integer|nil): integer|false|nil
--- A light userdata block of `sz` bytes is given away, whatever the result.
skynet.rawsend = d.rawsend

--- Ask a service and wait for its answer.
--- Raises `call failed` when the service is gone or its handler raised, and
--- `call to invalid address <addr>` when there's no such service.
---@type fun(addr: integer|string, typename: string|integer, ...): any
skynet.call = d.call

--- Ask with a message that is packed already.
---@type fun(addr: integer|string, typename: string|integer,
--- msg: string|lightuserdata, sz: integer|nil): lightuserdata, integer
--- The answer's block is borrowed until the coroutine blocks or ends.
skynet.rawcall = d.rawcall

--- Answer the current request with a packed message (default: an empty one).
--- Raises `No session` when there's nothing to answer.
---@type fun(msg: string|lightuserdata|nil, sz: integer|nil): boolean
--- false when nobody wants the answer: the request was a send, or its source is gone.
skynet.ret = d.ret

--- Pack values and answer the current request with them.
---@type fun(...): boolean
skynet.retpack = d.retpack

--- Take the right to answer the current request into a closure.
--- Raises `no session` when there's nothing to answer.
---@type fun(packfunc: function|nil): fun(ok: boolean|string, ...): boolean|nil
--- closure(true, ...) answers, closure(false) fails the caller, closure("TEST") tells whether
--- an answer is still wanted.
skynet.response = d.response

--- Drop the right to answer: for protocols that use the session for something else.
skynet.ignoreret = d.ignoreret

--- Session and source of the request this coroutine handles; session is nil once answered.
---@type fun(): integer|nil, integer|nil
skynet.context = d.context

--- Send with a forged source and a given session.
---@param dest integer|string
---@param source integer
---@param typename string|integer
---@param session integer
---@param msg string|lightuserdata  a block is given away
---@param sz integer|nil
---@return integer|nil session
function skynet.redirect(dest, source, typename, session, msg, sz)
	return c.redirect(dest, source, proto[typename].id, session, msg, sz)
end

--- Like rawcall, but the callee's work is traced under `tag`.
---@param tag string
---@param addr integer|string
---@param typename string|integer
---@param msg string|lightuserdata
---@param sz integer|nil
---@return lightuserdata msg, integer sz  borrowed until the coroutine blocks or ends
function skynet.tracecall(tag, addr, typename, msg, sz)
	c.trace(tag, "tracecall begin")
	c.send(addr, skynet.PTYPE_TRACE, 0, tag)
	local session = c.send(addr, proto[typename].id, nil, msg, sz)
	if not session then
		error "call to invalid address"
	end
	local answer, size = d.await(session, type(addr) == "number" and addr or nil)
	c.trace(tag, "tracecall end")
	return answer, size
end

--- Act as if this address had announced its death: calls waiting for it fail.
---@param addr integer|string  as it was given to skynet.call
function skynet.term(addr)
	d.ignoreret()
	d.died(addr)
end

---------------------------------------------------------------------------------------------
-- Time and coroutines

--- Node time in cs. Monotonic.
---@type fun(): integer
skynet.now = c.now

--- Monotonic clock in nanoseconds.
---@type fun(): integer
skynet.hpc = c.hpc

--- Run func() in a coroutine of its own, `ti` cs from now.
---@type fun(ti: integer, func: function): thread
skynet.timeout = d.timeout

--- Sleep `ti` cs. Returns "BREAK" when woken before.
--- Raises `token duplicative` when somebody sleeps on the token already.
---@type fun(ti: integer, token: any): string|nil
skynet.sleep = d.sleep

--- Block until skynet.wakeup(token).
---@type fun(token: any)
skynet.wait = d.wait

--- Wake who sleeps or waits on the token; it runs once the current coroutine blocks or ends.
---@type fun(token: any): boolean|nil
skynet.wakeup = d.wakeup

--- Run func(...) in a coroutine of its own, after the current one blocks or ends.
---@type fun(func: function, ...): thread
skynet.fork = d.fork

--- Let messages that are queued already go first.
function skynet.yield()
	return skynet.sleep(0)
end

local starttime

--- Unix time, in seconds, of this node's start.
---@return integer
function skynet.starttime()
	if not starttime then
		starttime = c.intcommand "STARTTIME"
	end
	return starttime
end

--- Wall time in seconds, as the node counts it: starttime plus now.
---@return number
function skynet.time()
	return c.now() / 100 + (starttime or skynet.starttime())
end

--- Kill a blocked coroutine, given itself or a pattern of its tostring.
---@param thread thread|string
---@return thread|nil killed
function skynet.killthread(thread)
	if type(thread) ~= "string" then
		return d.kill(thread)
	end
	for co in pairs(d.inspect "tasks") do
		if tostring(co):find(thread) and d.kill(co) then
			return co
		end
	end
end

---------------------------------------------------------------------------------------------
-- Parallel calls

local request_set = {}
request_set.__index = request_set

---@param obj table  { addr, typename, ..., n = length|nil }
function request_set:add(obj)
	assert(type(obj) == "table" and not self._started)
	self[#self + 1] = obj
	return self
end

request_set.__call = request_set.add

local function send_one(set, req)
	local p = proto[req[2]]
	local handler
	local session
	function handler(ok, msg, sz)
		set._sessions[session] = nil
		local resp = false
		if ok then
			resp = table.pack(p.unpack(msg, sz))
		end
		set:_arrived(req, resp)
	end
	session = d.request(req[1], p.id, (function(...)
		local msg, sz = ...
		return msg, sz, handler
	end)(p.pack(table.unpack(req, 3, req.n))))
	return session
end

function request_set:_arrived(req, resp)
	local tail = self._tail + 1
	self._tail = tail
	self._results[tail] = { req, resp }
	if self._waiting then
		self._waiting = nil
		skynet.wakeup(self)
	end
end

local function next_result(set)
	while set._head == set._tail do
		if set.timeout or next(set._sessions) == nil then
			return
		end
		set._waiting = true
		skynet.wait(set)
	end
	local head = set._head + 1
	set._head = head
	local result = set._results[head]
	set._results[head] = nil
	return result[1], result[2]
end

--- Send all requests and iterate over the answers as they come: for req, resp in
--- set:select() do ... end. resp is table.pack of the answer, false when the call failed, nil
--- when the address was invalid.
---@param timeout integer|nil  cs; when it passes, the loop ends with set.timeout == true
function request_set:select(timeout)
	assert(not self._started)
	self._started = true
	self._sessions = {}
	self._results = {}
	self._head = 0
	self._tail = 0
	for i = 1, #self do
		local class = proto[self[i][2]]
		if class == nil then
			error(("select: protocol %s is not registered"):format(tostring(self[i][2])))
		end
	end
	local invalid = {}
	for i = 1, #self do
		local req = self[i]
		local ok, session = pcall(send_one, self, req)
		if not ok then
			self:close()
			error(session, 0)
		end
		if session then
			self._sessions[session] = req
		else
			invalid[#invalid + 1] = req
		end
	end
	for i = #invalid, 1, -1 do
		self:_arrived(invalid[i], nil)
	end
	if timeout then
		skynet.timeout(timeout, function()
			if self._sessions and next(self._sessions) then
				self.timeout = true
				if self._waiting then
					self._waiting = nil
					skynet.wakeup(self)
				end
			end
		end)
	end
	return next_result, self, nil, self
end

--- Give up on what has not been answered.
function request_set:close()
	if self._sessions then
		for session in pairs(self._sessions) do
			d.abandon(session)
		end
		self._sessions = {}
	end
end

request_set.__close = request_set.close

--- A set of requests to be sent at once.
---@param obj table|nil  first request, see add
function skynet.request(obj)
	local set = setmetatable({}, request_set)
	if obj then
		return set(obj)
	end
	return set
end

---------------------------------------------------------------------------------------------
-- The environment of the service

--- This service's handle.
---@return integer
function skynet.self()
	return c.addresscommand "REG"
end

--- Handle of a local name.
---@param name string  ".name"
---@return integer|nil
function skynet.localname(name)
	return c.addresscommand("QUERY", name)
end

--- Harbor id of an address, and whether it's on another node.
---@type fun(addr: integer): integer, boolean
skynet.harbor = c.harbor

--- Text form of an address: `:%08x` for integers.
---@param addr any
---@return string
function skynet.address(addr)
	if type(addr) == "number" then
		return (":%08x"):format(addr)
	end
	return tostring(addr)
end

---@param key string
---@return string|nil
function skynet.getenv(key)
	return (c.command("GETENV", key))
end

--- Set a configuration key that isn't set yet.
--- Raises `Can't setenv exist key : <key>`.
---@param key string  without blanks
---@param value any
function skynet.setenv(key, value)
	assert(c.command("GETENV", key) == nil, "Can't setenv exist key : " .. key)
	c.command("SETENV", key .. " " .. tostring(value))
end

--- Log the arguments, joined by blanks.
---@type fun(...)
skynet.error = c.error

--- Number of messages waiting in this service's mailbox.
---@return integer
function skynet.mqlen()
	return c.intcommand("STAT", "mqlen")
end

--- Limit how many messages may wait in this service's mailbox. At the limit a call to it fails at
--- once, and a plain message is refused (`skynet.send` returns false) or, with "drop", vanishes.
--- Responses, errors, socket data, system and debug messages always get in. `stat` of the debug console
--- shows the limit and how many messages were turned away; the log tells, too.
---@param n integer  messages, up to 65535; 0: no limit (the default)
---@param action "reject"|"drop"|nil  reject by default
function skynet.mqlimit(n, action)
	assert(action == nil or action == "reject" or action == "drop", "the action is reject or drop")
	assert(math.type(n) == "integer" and n >= 0 and n <= 65535, "the limit is a number of messages, 0 to 65535")
	c.command("MQLIMIT", action == "drop" and n .. " drop" or tostring(n))
end

--- A statistic of this service: mqlen, cpu (seconds), time (seconds), message, endless, mqlimit,
--- turned (messages turned away at that limit).
---@param what string
---@return number
function skynet.stat(what)
	return c.intcommand("STAT", what)
end

--- Did the watchdog find this service stuck since the last time this was asked?
---@return boolean
function skynet.endless()
	return c.intcommand("STAT", "endless") == 1
end

--- Limit the memory of this VM. Only from the main chunk, and once.
---@param bytes integer
function skynet.memlimit(bytes)
	debug.getregistry().memlimit = bytes
	skynet.memlimit = nil
end

---------------------------------------------------------------------------------------------
-- Tracing

--- Start tracing the current coroutine under a new tag.
---@param info string|nil
function skynet.trace(info)
	skynet.error("TRACE", d.tag())
	local tag = d.newtag()
	if tag then
		c.trace(tag, info and "trace " .. tostring(info) or "trace")
	end
end

--- Trace tag of the current coroutine: text, false (forced off) or nil.
---@type fun(): string|false|nil
skynet.tracetag = d.tag

--- Log a line under a trace tag.
---@type fun(tag: string, text: string, thread: thread|integer|nil, level: integer|nil)
skynet.tracelog = c.trace

---------------------------------------------------------------------------------------------
-- Tasks

local timer_traceback -- session independent: coroutine of a timer -> where it was made
local init_thread

--- Remember where timers are made, for skynet.task.
---@param on boolean
function skynet.trace_timeout(on)
	if not on then
		timer_traceback = nil
		skynet.timeout = d.timeout
		return
	end
	timer_traceback = timer_traceback or setmetatable({}, { __mode = "k" })
	function skynet.timeout(ti, func)
		local co = d.timeout(ti, func)
		local head = ("TIMER %d+%d : "):format(c.now(), ti)
		timer_traceback[co] = traceback(head, 2)
		return co
	end
end

local function task_traceback(what)
	if type(what) == "thread" then
		return timer_traceback and timer_traceback[what] or traceback(what)
	end
	if type(what) == "function" then
		return ""
	end
	return what
end

--- Number of blocked coroutines; or details, see the kinds of argument.
---@param ret nil|table|integer|string|thread  table: filled with "thread session: n" ->
---  traceback; integer: traceback of that session; "init": of the start function; thread: its session
function skynet.task(ret)
	if ret == nil then
		return d.inspect "count"
	elseif type(ret) == "table" then
		for session, what in pairs(d.inspect "sessions") do
			local key = ("%s session: %d"):format(tostring(what), session)
			ret[key] = task_traceback(what)
		end
	elseif ret == "init" then
		return init_thread and traceback(init_thread)
	elseif type(ret) == "number" then
		local what = d.inspect("session", ret)
		return what and task_traceback(what) or "No session"
	elseif type(ret) == "thread" then
		for session, what in pairs(d.inspect "sessions") do
			if what == ret then
				return session
			end
		end
	end
end

--- Tasks with the same traceback, merged.
---@return table<string, string>  "count\tsessions:[...]\n" -> traceback
function skynet.uniqtask()
	local stacks = {}
	for session, what in pairs(d.inspect "sessions") do
		if what ~= "BREAK" then
			local text = task_traceback(what)
			local s = stacks[text]
			if s == nil then
				s = { n = 0 }
				stacks[text] = s
			end
			s.n = s.n + 1
			if s.n < 10 then
				s[s.n] = session
			end
		end
	end
	local ret = {}
	for text, s in pairs(stacks) do
		local more = s.n > 9 and ",..." or ""
		ret[("%d\tsessions:[%s%s]\n"):format(s.n, table.concat(s, ","), more)] = text
	end
	return ret
end

---------------------------------------------------------------------------------------------
-- The dispatcher, as tools see it

-- Tools that patch a running service look for these names among the upvalues of
-- dispatch_message. Queues are the dispatcher's own tables; maps keyed by coroutine are made
-- when somebody looks.
local queues = d.queues()
local wakeup_queue = queues.wakeup_queue
local error_queue = queues.error_queue
local sleep_session = queues.sleep_session
local trace_source = queues.trace_source
local unresponse = queues.unresponse

local session_id_coroutine, session_coroutine_id, session_coroutine_address = {}, {}, {}
local session_coroutine_tracetag, watching_session = {}, {}

local function look(self)
	if self == session_id_coroutine then
		return d.inspect "sessions"
	end
	local field = self == session_coroutine_id and "request"
		or self == session_coroutine_address and "source" or "tag"
	local map = {}
	for co, task in pairs(d.inspect "tasks") do
		if self ~= watching_session then
			map[co] = task[field]
		elseif task.callee then
			map[task.waiting] = task.callee
		end
	end
	return map
end

local view_meta = {
	__index = function(self, key)
		return look(self)[key]
	end,
	__pairs = function(self)
		return next, look(self), nil
	end,
}
setmetatable(session_id_coroutine, view_meta)
setmetatable(session_coroutine_id, view_meta)
setmetatable(session_coroutine_address, view_meta)
setmetatable(session_coroutine_tracetag, view_meta)
setmetatable(watching_session, view_meta)

local coroutine_pool = {}
local fork_queue = {}

local dispatch = d.dispatch

local function raw_dispatch_message(...)
	if ... == nil then -- never: a message has a type. The names are what matters here.
		return proto, skynet, c, session_id_coroutine, session_coroutine_id,
			session_coroutine_address, session_coroutine_tracetag, coroutine_pool, fork_queue,
			wakeup_queue, error_queue, sleep_session, trace_source
	end
	return dispatch(...)
end

--- Handle one message: what skynet.start installs as the callback. May be wrapped before
--- skynet.start is called.
---@param prototype integer  message type
---@param msg lightuserdata|string  borrowed
---@param sz integer
---@param session integer
---@param source integer
function skynet.dispatch_message(prototype, msg, sz, session, source)
	return raw_dispatch_message(prototype, msg, sz, session, source)
end

local function unknown_request(session, source, msg, sz, prototype)
	skynet.error(("Unknown request (%s): %s"):format(prototype, c.tostring(msg, sz)))
	error(("Unknown session : %d from %x"):format(session, source))
end

local function unknown_response(session, source, msg, sz)
	skynet.error(("Response message : %s"):format(c.tostring(msg, sz)))
	error(("Unknown session : %d from %x"):format(session, source))
end

--- Replace the handler of requests nobody dispatches: f(session, source, msg, sz, proto). It
--- can't block.
---@param unknown function
---@return function previous
function skynet.dispatch_unknown_request(unknown)
	local previous = unknown_request
	unknown_request = unknown
	d.setup { unknown_request = unknown }
	return previous
end

--- Replace the handler of responses nobody waits for: f(session, source, msg, sz). It can't
--- block.
---@param unknown function
---@return function previous
function skynet.dispatch_unknown_response(unknown)
	local previous = unknown_response
	unknown_response = unknown
	d.setup { unknown_response = unknown }
	return previous
end

-- The dispatcher handles this protocol itself as long as this is its handler.
local function error_dispatch(error_session, error_source)
	if error_session == nil then
		return unresponse, watching_session
	end
	if error_session == 0 then
		d.died(error_source)
	end
end

d.setup {
	proto = proto,
	skynet = skynet,
	dispatch = skynet.dispatch_message,
	raw = raw_dispatch_message,
	error = error_dispatch,
	unknown_request = unknown_request,
	unknown_response = unknown_response,
}

do
	local register = skynet.register_protocol

	register {
		name = "lua",
		id = skynet.PTYPE_LUA,
		pack = skynet.pack,
		unpack = skynet.unpack,
	}

	register {
		name = "response",
		id = skynet.PTYPE_RESPONSE,
	}

	register {
		name = "error",
		id = skynet.PTYPE_ERROR,
		unpack = function(...)
			return ...
		end,
		dispatch = error_dispatch,
	}
end

do
	local stock = skynet.dispatch_message

	skynet.register_protocol {
		name = "debug",
		id = skynet.PTYPE_DEBUG,
		pack = skynet.pack,
		unpack = skynet.unpack,
		dispatch = function(_, _, ...)
			require "skynet.debug".dispatch(stock, ...)
		end,
	}
end

--- Let f(...) supply the answer of the debug console's `info`.
---@param func function
function skynet.info_func(func)
	require "skynet.debug".info_func(func)
end

---------------------------------------------------------------------------------------------
-- Starting and leaving

--- pcall; kept for old code.
skynet.pcall = pcall

--- Register a function to run before the start function, or, while a module is required in a
--- coroutine, before that require returns.
---@type fun(func: function)
skynet.init = require_hooks.init

--- Run the init hooks and func, and tell the launcher how it went. For services that install
--- their own callback; others use skynet.start.
---@param start function
function skynet.init_service(start)
	local function main()
		require_hooks.init_all()
		start()
	end
	local ok, err = xpcall(main, traceback)
	if not ok then
		skynet.error("init service failed: " .. tostring(err))
		skynet.send(".launcher", "lua", "ERROR")
		skynet.exit()
	else
		skynet.send(".launcher", "lua", "LAUNCHOK")
	end
end

--- Start this service: install the dispatcher and run func in a coroutine.
---@param start_func function
function skynet.start(start_func)
	local function begin()
		skynet.init_service(start_func)
		init_thread = nil -- it's over: nothing to look at any more
	end
	c.callback(skynet.dispatch_message)
	init_thread = skynet.timeout(0, begin)
end

--- End this service. Never returns. Requests it hasn't answered fail at their callers.
function skynet.exit()
	skynet.send(".launcher", "lua", "REMOVE", skynet.self(), false)
	d.leave()
	c.callback(function(prototype, _, _, session, source)
		if session ~= 0 and source ~= 0 and prototype ~= skynet.PTYPE_RESPONSE
			and prototype ~= skynet.PTYPE_ERROR then
			c.send(source, skynet.PTYPE_ERROR, session, "")
		end
	end)
	c.command "EXIT"
	coroutine.yield "QUIT"
end

--- Start a service and wait until its start function returned.
--- Raises `call failed` when it can't start. Returns nil when it exits while starting.
---@param name string
---@param ... string|number  arguments; no blanks in them
---@return integer|nil address
function skynet.newservice(name, ...)
	return skynet.call(".launcher", "lua", "LAUNCH", "snlua", name, ...)
end

--- The one service of this name in the node (or, with true first, in the cluster of harbors):
--- starts it at first use.
---@param global string|true
---@param ... any
---@return integer address
function skynet.uniqueservice(global, ...)
	if global == true then
		return assert(skynet.call(".service", "lua", "GLAUNCH", ...))
	end
	return assert(skynet.call(".service", "lua", "LAUNCH", global, ...))
end

--- As uniqueservice, but waits until somebody else starts it.
---@param global string|true
---@param ... any
---@return integer address
function skynet.queryservice(global, ...)
	if global == true then
		return assert(skynet.call(".service", "lua", "GQUERY", ...))
	end
	return assert(skynet.call(".service", "lua", "QUERY", global, ...))
end

return skynet
