--- A client that speaks frames of a big-endian length, for specs that run outside of the runtime.

local kit = require "testkit"

local framed = {}
framed.__index = framed

local LIMIT = 60 -- seconds

--- Connect to a port of this machine; `width` is 2 or 4, the bytes of the length.
function framed.connect(port, width)
	local self = setmetatable({ buffer = "", width = width or 2 }, framed)
	self.fd = assert(kit.connect(port))
	return self
end

--- Send bytes as they are; returns how many went out within `limit` seconds.
function framed:raw(bytes, limit)
	return kit.write(self.fd, bytes, limit or LIMIT)
end

function framed:send(body)
	return self:raw(string.pack(">s" .. self.width, body))
end

--- The next frame; nil and "" when the connection has ended, nil when nothing came.
function framed:receive(limit)
	local deadline = kit.now() + (limit or LIMIT)
	while true do
		if #self.buffer >= self.width then
			local n = string.unpack(">I" .. self.width, self.buffer)
			if #self.buffer >= n + self.width then
				local body = self.buffer:sub(self.width + 1, self.width + n)
				self.buffer = self.buffer:sub(self.width + n + 1)
				return body
			end
		end
		local bytes = kit.read(self.fd, math.max(deadline - kit.now(), 0), 1 << 20)
		if bytes == nil or bytes == "" then
			return nil, bytes
		end
		self.buffer = self.buffer .. bytes
	end
end

--- Send a frame and return the answer.
function framed:ask(body)
	self:send(body)
	return self:receive()
end

--- Has the other side closed? Waits for it.
function framed:ended(limit)
	local deadline = kit.now() + (limit or LIMIT)
	repeat
		local body, why = self:receive(deadline - kit.now())
		if body == nil then
			return why == ""
		end
	until kit.now() > deadline
	return false
end

function framed:close()
	kit.close(self.fd)
end

return framed
