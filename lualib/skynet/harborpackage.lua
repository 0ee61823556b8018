--- Packages between a harbor master and its slaves: one byte of length, then packed values.
--
-- Used by the services cmaster and cslave. All bytes come from a network: whatever isn't a
-- package of strings and integers is an error of its connection.

local skynet = require "skynet"
local socket = require "skynet.socket"

local M = {}

--- Raises `too long` when the packed values have more than 255 bytes.
---@param ... string|integer
---@return string
function M.pack(...)
	local text = skynet.packstring(...)
	if #text > 255 then
		error(("harbor package \"%s\": too long"):format((...)))
	end
	return string.char(#text) .. text
end

local function check(ok, ...)
	if not ok then
		error("Invalid package", 0)
	end
	for i = 1, select("#", ...) do
		local value = select(i, ...)
		if type(value) ~= "string" and math.type(value) ~= "integer" then
			error(("Invalid package: value %d is a %s"):format(i, type(value)), 0)
		end
	end
	return ...
end

--- The next package. Returns nothing when the connection has ended.
--- Raises `Invalid package` for bytes that aren't one.
---@param fd integer  socket
---@return string|integer ...
function M.read(fd)
	local size = socket.read(fd, 1)
	local text = size and socket.read(fd, size:byte())
	if text then
		return check(pcall(skynet.unpack, text))
	end
end

--- Is this a global name and a handle?
---@param name any
---@param handle any
---@return boolean
function M.is_name(name, handle)
	return type(name) == "string" and #name > 0 and #name < 16
		and math.type(handle) == "integer" and handle > 0 and handle < 1 << 32
end

--- Close the connection when its next package doesn't come in time.
---@param fd integer
---@param seconds number
---@return fun() cancel
function M.limit(fd, seconds)
	local over = false
	skynet.timeout(math.floor(seconds * 100), function()
		if not over then
			socket.shutdown(fd)
		end
	end)
	return function()
		over = true
	end
end

return M
