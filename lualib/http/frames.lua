--- A WebSocket connection after its handshake: messages out of frames, frames out of messages.
--
-- The object keeps what was read and not yet used, the parts of an unfinished message, and the
-- payload of a ping that has to be answered. A frame costs memory only for bytes that arrived,
-- and is refused by its header when it's too large. Pings are answered before the next message
-- is handed out and before waiting; of several that came together, the last one is, as RFC 6455
-- allows: a flood of them makes no flood of answers.

local core = require "http.core"
local deadline = require "http.deadline"
local pile = require "http.pile"
local skynet = require "skynet"

local sub = string.sub
local frame, parse = core.frame, core.parse

local CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
local FORMAT = { [TEXT] = "text", [BINARY] = "binary" }
local OPCODE = { text = TEXT, binary = BINARY }
local SLOWEST = 1024 -- bytes a second that an unfinished frame must have

---@class http.frames
---@field id integer         the socket
---@field client boolean     frames it sends are masked
---@field limit integer      bytes of a message
---@field timeout integer    for the rest of a frame; cs
---@field strict boolean     refuse frames that aren't masked as they should be
---@field utf8 boolean       refuse text that isn't UTF-8
---@field heard integer      when something came; cs
---@field due integer|nil    until when the reader waits; cs
local frames = {}
frames.__index = frames

--- A violation of the protocol, as next raises it.
---@class http.violation
---@field code integer  close code
---@field text string
local violation = {
	__tostring = function(self)
		return self.text
	end,
}

--- Is it a violation, and not some other error?
---@param err any
---@return boolean
function frames.is_violation(err)
	return getmetatable(err) == violation
end

local function refuse(code, text)
	error(setmetatable({ code = code, text = text }, violation))
end

--- Make an object with these fields a connection; `early` is what came behind the handshake.
---@param self table  id, read, write, client, limit, timeout, strict, utf8
---@param early string|nil
---@return http.frames
function frames.new(self, early)
	self.buf, self.at = early or "", 1
	self.size = 0
	self.heard = skynet.now()
	return setmetatable(self, frames)
end

---------------------------------------------------------------------------------------------
-- Writing

--- Send one frame, header and payload in one piece.
---@param op integer
---@param payload string
---@param mask integer|nil  default: random for a client, none for a server
function frames:send(op, payload, mask)
	if self.pong then
		self:answer_ping()
	end
	self.write(frame(op, payload, mask or self.client and core.mask() or nil))
end

--- Answer the ping that came last, unless a newer answer is due.
function frames:answer_ping()
	local payload = self.pong
	self.pong = nil
	self.write(frame(PONG, payload, self.client and core.mask() or nil))
end

--- Send a message.
---@param data string
---@param format "text"|"binary"|nil
---@param mask integer|nil
function frames:send_message(data, format, mask)
	self:send(assert(OPCODE[format or "text"]), data, mask)
end

--- Send a ping.
---@param payload string|nil  up to 125 bytes
function frames:send_ping(payload)
	payload = payload or ""
	assert(#payload <= 125, "the payload of a ping may have 125 bytes")
	self:send(PING, payload)
end

--- Send a close frame.
---@param code integer|nil
---@param reason string|nil
function frames:send_close(code, reason)
	local payload = code and string.pack(">I2", code) .. sub(reason or "", 1, 123) or ""
	self:send(CLOSE, payload)
end

---------------------------------------------------------------------------------------------
-- Reading

--- Have `need` bytes from the current position on. Raises when the connection ends.
---@param need integer  bytes
function frames:fill(need)
	if self.pong then
		self:answer_ping()
	end
	local have = #self.buf - self.at + 1
	if have == 0 then
		self.buf, self.at = self.read(), 1
		self.heard = skynet.now()
		return
	end
	local all = pile.new()
	all:add(sub(self.buf, self.at))
	self:limit_time(self.timeout)
	while have < need do
		local bytes = self.read()
		have = have + #bytes
		all:add(bytes)
		deadline.extend(self.id, #bytes * 100 / SLOWEST)
	end
	self:limit_time(nil)
	self.buf, self.at = all:join(), 1
	self.heard = skynet.now()
end

--- Let the connection end after some time, but not later than its reader wants.
---@param ticks integer|nil  centiseconds
function frames:limit_time(ticks)
	local left = self.due and self.due - skynet.now()
	if left and not (ticks and ticks < left) then
		deadline.set(self.id, left)
	elseif ticks then
		deadline.set(self.id, ticks)
	else
		deadline.clear(self.id)
	end
end

--- The next frame. Raises when it breaks the protocol or a limit.
---@return integer opcode, boolean fin, string payload
function frames:next_frame()
	while true do
		local op, fin, payload, at, masked = parse(self.buf, self.at, self.limit - self.size)
		if op then
			self.at = at
			if self.strict and masked == self.client then
				refuse(1002, masked and "a masked frame from a server"
					or "an unmasked frame from a client")
			end
			return op, fin, payload
		elseif op == false then
			refuse(fin, payload)
		end
		self:fill(fin)
	end
end

--- Keep a part of an unfinished message. Raises when it grows too large.
---@param payload string
function frames:keep(payload)
	if payload == "" then
		return
	end
	self.parts:add(payload)
	self.size = self.size + #payload
end

--- The last part of a message has come.
---@param format "text"|"binary"
---@param data string
---@return string message, "text"|"binary" format
function frames:complete(format, data)
	if self.format then
		self:keep(data)
		data = self.parts:join()
		self.parts, self.size, self.format = nil, 0, nil
	end
	if self.utf8 and format == "text" and not core.utf8(data) then
		refuse(1007, "a text message isn't UTF-8 (senders of other bytes use binary)")
	end
	if self.pong then
		self:answer_ping()
	end
	return data, format
end

-- Codes of the RFC that mean something in a frame, registered ones, and applications' own.
local function may_be_sent(code)
	return code >= 1000 and code <= 1014 and not (code >= 1004 and code <= 1006)
		or code >= 3000 and code <= 4999
end

local function check_close(payload)
	if #payload == 1 then
		refuse(1002, "a close frame of one byte")
	elseif #payload >= 2 then
		local code = string.unpack(">I2", payload)
		if not may_be_sent(code) then
			refuse(1002, ("close code %d isn't one that may be sent"):format(code))
		elseif not core.utf8(sub(payload, 3)) then
			refuse(1007, "the reason of a close frame isn't UTF-8")
		end
	end
end

--- The next message. Control frames in between are given to on_control(what, payload), where
--- what is "ping" or "pong". Raises what reading raises, or a violation.
---@param on_control fun(what: string, payload: string)|nil
---@return string|false data  false: the peer closes
---@return string format_or_payload  "text" or "binary"; or the payload of the close frame
function frames:next(on_control)
	while true do
		local op, fin, payload = self:next_frame()
		if op == TEXT or op == BINARY then
			if self.format then
				refuse(1002, "a message begins inside another one")
			elseif fin then
				return self:complete(FORMAT[op], payload)
			end
			self.format, self.parts = FORMAT[op], pile.new()
			self:keep(payload)
		elseif op == CONTINUATION then
			if not self.format then
				refuse(1002, "a continuation of no message")
			elseif fin then
				return self:complete(self.format, payload)
			end
			self:keep(payload)
		elseif op == CLOSE then
			check_close(payload)
			return false, payload
		else
			if op == PING then
				self.pong = payload
			end
			if on_control then
				on_control(op == PING and "ping" or "pong", payload)
			end
		end
	end
end

return frames
