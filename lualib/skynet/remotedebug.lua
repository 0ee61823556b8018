--- The remote debugger's side in the debugged service.
--
-- Lines come through a debug channel, which is looked at before each message and every 0.1
-- seconds; answers go straight to the socket of whoever types. While one request is stopped at
-- a line the service goes on with others: the stopped handler runs in a coroutine of its own
-- whose line hook suspends it, and its task waits for the next order.

local c = require "skynet.core"
local d = require "skynet.dispatch"
local debugchannel = require "skynet.debugchannel"
local driver = require "skynet.socketdriver"
local injectcode = require "skynet.injectcode"
local skynet = require "skynet"

local POLL = 10 -- cs

local M = {}

---@class skynet.debugsession
---@field fd integer        socket to write to
---@field channel userdata  where lines come from
---@field stopped thread?   coroutine that is stopped at a line
---@field lines string[]    read and not yet run
---@field idle integer?     session the runner waits on for lines
local session

local framework = debug.getinfo(skynet.start, "S").source:match "^(.*[/\\])[^/\\]*$"

local function write(s, text)
	driver.send(s.fd, text)
end

local function write_values(s, ...)
	local values = table.pack(...)
	for i = 1, values.n do
		values[i] = tostring(values[i]) .. "\t"
	end
	write(s, table.concat(values) .. "\n")
end

local function prompt(s)
	local co = s.stopped
	if co then
		local info = debug.getinfo(co, 0, "Sl")
		write(s, ("%s(%d)>"):format(info.short_src, info.currentline))
	else
		write(s, (":%08x>"):format(skynet.self()))
	end
end

---------------------------------------------------------------------------------------------
-- Stopping at lines

local function depth_of(co)
	local n = 0
	while debug.getinfo(co, n, "l") do
		n = n + 1
	end
	return n
end

-- Stop the coroutine at its next line outside of the framework; not deeper than `limit` frames.
local function stop_soon(s, co, limit)
	debugchannel.sethook(co, function()
		local n = 0
		while debug.getinfo(2 + n, "l") do
			n = n + 1
		end
		local source = debug.getinfo(2, "S").source
		if source:sub(1, #framework) == framework or (limit and n > limit) then
			return false
		end
		debugchannel.sethook(co)
		s.hit = co
		return true
	end, "l")
end

-- Wait for an order; the debugger may be left meanwhile.
local function stop(s, co)
	s.hit = nil
	if session ~= s then
		return
	end
	s.stopped = co
	write(s, "\n")
	prompt(s)
	skynet.wait(co)
	s.stopped = nil
end

-- What came back from the handler: its end, a stop, or a blocking call for the framework.
local function came_back(s, co, ok, ...)
	if not ok then
		error(debug.traceback(co, tostring((...))), 0)
	elseif coroutine.status(co) == "dead" then
		if session == s then
			write(s, "\n")
			prompt(s)
		end
		return ...
	elseif s.hit == co then
		stop(s, co)
		return came_back(s, co, coroutine.resume(co))
	end
	return came_back(s, co, coroutine.resume(co, coroutine.yield(...)))
end

local function run_watched(s, handler, ...)
	local co = coroutine.create(handler)
	local _ <close> = setmetatable({}, { __close = function()
		debugchannel.sethook(co)
		if s.stopped == co then
			s.stopped = nil
		end
		if coroutine.status(co) == "suspended" then
			coroutine.close(co) -- the task was killed
		end
	end })
	stop_soon(s, co)
	return came_back(s, co, coroutine.resume(co, ...))
end

-- Does the condition of a watch hold? What it raises goes to the debugger.
local function wanted(s, cond, ...)
	if s.stopped then
		return false
	elseif not cond then
		return true
	end
	local ok, result = pcall(cond, ...)
	if not ok then
		write_values(s, result)
	end
	return ok and result
end

local function watch(s, name, cond)
	local p = skynet._proto[name]
	if not p then
		return "No " .. tostring(name)
	end
	local dispatch = p.dispatch
	if not dispatch then
		return "No dispatch"
	end
	local function trap(...)
		if not wanted(s, cond, ...) then
			return dispatch(...)
		end
		s.traps[trap]()
		return run_watched(s, dispatch, ...)
	end
	s.traps[trap] = function()
		s.traps[trap] = nil
		if p.dispatch == trap then
			p.dispatch = dispatch
		end
	end
	p.dispatch = trap
end

---------------------------------------------------------------------------------------------
-- Lines

local function run_code(s, code)
	local co = s.stopped
	if co then
		s.names._CO = co
		return injectcode(code, co, 0, s.names)
	end
	local f, err = load(code, "=(debug)", "t", s.env)
	if not f then
		return false, err
	end
	return pcall(f)
end

local function evaluate(s, line)
	local expression = "return " .. line
	if load(expression, "=(debug)", "t") then
		return write_values(s, select(2, run_code(s, expression)))
	end
	local ok, err = run_code(s, line)
	if ok then
		write(s, "\n")
	else
		write_values(s, err)
	end
end

local function go_on(s, limit)
	local co = s.stopped
	if limit ~= false then
		stop_soon(s, co, limit)
	end
	skynet.wakeup(co)
end

local orders = {
	c = function(s)
		go_on(s, false)
	end,
	s = function(s)
		go_on(s)
	end,
	n = function(s)
		go_on(s, depth_of(s.stopped))
	end,
}

local function run_line(s, line)
	if s.stopped and orders[line] then
		return orders[line](s) -- the prompt comes with the next stop
	elseif line ~= "" then
		evaluate(s, line)
	end
	prompt(s)
end

-- The coroutine that runs lines: it sleeps on a session of its own, which `poll` answers.
local function run_lines(s)
	while session == s do
		local line = table.remove(s.lines, 1)
		if line then
			run_line(s, line)
		else
			s.idle = c.genid()
			d.await(s.idle)
		end
	end
end

local function leave(s)
	if session ~= s then
		return
	end
	session = nil
	for _, remove in pairs(s.traps) do
		remove()
	end
	if s.stopped then
		skynet.wakeup(s.stopped)
	end
	if s.hooked == d.callback() then
		c.callback(s.previous, s.forward)
	end
	s.channel:release()
	skynet.error "Leave debug mode"
	s.over(true)
end

-- Before a message: run what was typed, so that it's in effect when the message is handled.
local function poll(s)
	local line = s.channel:read()
	while line do
		if line == "cont" then
			return leave(s)
		end
		table.insert(s.lines, line)
		line = s.channel:read()
	end
	local idle = s.idle
	if idle and #s.lines > 0 then
		s.idle = nil
		d.dispatch(skynet.PTYPE_RESPONSE, nil, 0, idle, 0)
	end
end

local function tick(s)
	if session == s then
		skynet.timeout(POLL, function()
			tick(s)
		end)
	end
end

local function hook_messages(s)
	s.previous, s.forward = d.callback()
	s.hooked = function(...)
		if session == s then
			local ok, err = pcall(poll, s)
			if not ok then
				skynet.error(err)
			end
		end
		return s.previous(...)
	end
	c.callback(s.hooked, s.forward)
end

-- Names that typed code can use.
local function make_environment(s)
	s.names = {
		print = function(...)
			write_values(s, ...)
		end,
		watch = function(...)
			return watch(s, ...)
		end,
		skynet = skynet,
	}
	s.env = setmetatable({}, {
		__index = function(_, key)
			local v = s.names[key]
			if v ~= nil then
				return v
			end
			return _G[key]
		end,
		__newindex = _G,
	})
end

--- Enter debug mode. Answers the current request when it's left.
--- Raises `Already in debug mode`.
---@param fd integer  socket of whoever types
---@param handle lightuserdata  of the debug channel that lines come through
function M.start(fd, handle)
	if session then
		error "Already in debug mode"
	end
	local _, agent = skynet.context()
	local s = {
		fd = fd,
		channel = debugchannel.connect(handle),
		lines = {},
		traps = {},
		over = skynet.response(),
	}
	session = s
	make_environment(s)
	hook_messages(s)
	skynet.error "Enter debug mode"
	prompt(s)
	skynet.fork(run_lines, s)
	tick(s)
	skynet.fork(function()
		pcall(skynet.call, agent, "debug", "LINK") -- fails when the agent is gone
		leave(s)
	end)
end

return M
