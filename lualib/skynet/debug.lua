--- The debug protocol: what every Lua service answers to tools.
--
-- Commands of the service's own are added with reg_debugcmd; the built-in ones can't be replaced.
-- Few services are ever asked: skynet.lua requires this module when the first tool asks.

local skynet = require "skynet"
local dispatcher = require "skynet.dispatch"

local table = table

local extra = {} -- commands by reg_debugcmd

local M = {
	--- Coroutine that waits for a critical section -> its lock, { owner = coroutine inside }.
	locks = setmetatable({}, { __mode = "k" }),
	waits = {}, -- by reg_waits
	stats = {}, -- by reg_stat
}

--- Add a debug command.
---@param name string
---@param fn function  has to answer by itself (skynet.ret)
function M.reg_debugcmd(name, fn)
	extra[name] = fn
end

--- Have WAITS tell of waits that the framework doesn't know: see skynet.waits.
---@param fn fun(): table[]  records; must not block
function M.reg_waits(fn)
	table.insert(M.waits, fn)
end

--- Have STAT show more of this service: limits that were set, and how near they are.
---@param fn fun(): table<string, integer>  must not block
function M.reg_stat(fn)
	table.insert(M.stats, fn)
end

local info_func
local stock_dispatch -- skynet.dispatch_message as shipped
local collecting = false

local command = {} -- built-in ones

function command.MEM()
	skynet.ret(skynet.pack((collectgarbage "count")))
end

function command.GC()
	skynet.ignoreret()
	if collecting then
		return
	end
	collecting = true
	local before = collectgarbage "count"
	local since = skynet.now()
	collectgarbage "collect"
	local after = collectgarbage "count"
	skynet.error(("GC %.2f Kb -> %.2f Kb, cost %.2f sec"):format(before, after,
		(skynet.now() - since) / 100))
	collecting = false
end

function command.STAT()
	local stat = {
		task = skynet.task(),
		mqlen = skynet.stat "mqlen",
		cpu = skynet.stat "cpu",
		message = skynet.stat "message",
	}
	local limit = skynet.stat "mqlimit"
	if limit > 0 then
		stat.mqlimit, stat.turned = limit, skynet.stat "turned"
	end
	for _, more in ipairs(M.stats) do
		for name, value in pairs(more()) do
			stat[name] = value
		end
	end
	skynet.retpack(stat)
end

function command.KILLTASK(threadname)
	local co = skynet.killthread(threadname)
	if co then
		skynet.error(("Kill %s"):format(tostring(co)))
		skynet.ret()
	else
		skynet.error(("Kill %s : Not found"):format(threadname))
		skynet.retpack "Not found"
	end
end

function command.TASK(session)
	if session then
		-- tools send text
		local which = session == "init" and session or math.tointeger(session)
		skynet.retpack(skynet.task(assert(which, "TASK: neither a session's number nor init")))
	else
		local tasks = {}
		skynet.task(tasks)
		skynet.retpack(tasks)
	end
end

function command.UNIQTASK()
	skynet.retpack(skynet.uniqtask())
end

function command.INFO(...)
	if info_func then
		skynet.retpack(info_func(...))
	else
		skynet.retpack(nil)
	end
end

function command.EXIT()
	skynet.exit()
end

function command.RUN(source, filename, ...)
	local inject = require "skynet.inject"
	local args = table.pack(...)
	local ok, output = inject(skynet, source, filename, args, stock_dispatch,
		skynet.register_protocol)
	dispatcher.recheck() -- the code may have exchanged parts of it
	collectgarbage "collect"
	skynet.retpack(ok, table.concat(output, "\n"))
end

function command.TERM(service)
	skynet.term(service)
end

function command.REMOTEDEBUG(...)
	local remotedebug = require "skynet.remotedebug"
	remotedebug.start(...)
end

function command.SUPPORT(pname)
	skynet.retpack(skynet.dispatch(pname) ~= nil)
end

-- what this service waits for, and from which line
function command.WAITS()
	skynet.retpack(require "skynet.waits".own())
end

function command.PING()
	skynet.ret()
end

function command.LINK()
	skynet.response() -- kept until this service ends: then the caller is told
end

function command.TRACELOG(proto, flag)
	if type(proto) ~= "string" then
		flag = proto
		proto = "lua"
	end
	skynet.error(("Turn trace log %s for %s"):format(flag, proto))
	skynet.traceproto(proto, flag)
	skynet.ret()
end

function command.SHUTDOWN()
	if extra.SHUTDOWN then
		return extra.SHUTDOWN()
	end
	skynet.ret()
end

--- Let f(...) supply the answer of INFO: see skynet.info_func.
---@param func function
function M.info_func(func)
	info_func = func
end

--- Handle a debug message. For skynet.lua only.
---@param stock function  skynet.dispatch_message as shipped
---@param cmd string
---@param ... any  its arguments
function M.dispatch(stock, cmd, ...)
	stock_dispatch = stock
	local f = command[cmd] or extra[cmd]
	if not f then
		error(tostring(cmd))
	end
	f(...)
end

return M
