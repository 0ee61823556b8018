--- A client for the plain interpreter:  3rd/lua/lua examples/gate/client.lua PORT [LINE ...]
--- It sends lines, given or typed, as frames and prints the answers. Try: echo hi, time, quit.

package.cpath = "luaclib/?.so;" .. package.cpath

local socket = require "client.socket"

local fd = socket.connect("127.0.0.1", tonumber((...)) or 8888)
local lines = { select(2, ...) }
local typed = #lines == 0
local unread = ""

-- Print all whole frames; false at the end of the connection.
local function receive()
	local bytes = socket.recv(fd)
	if bytes == "" then
		return false
	end
	unread = unread .. (bytes or "")
	while #unread >= 2 and #unread >= 2 + (">I2"):unpack(unread) do
		local frame, rest = (">s2"):unpack(unread)
		unread = unread:sub(rest)
		print(frame)
	end
	return true
end

while receive() do
	local line = table.remove(lines, 1) or typed and socket.readstdin()
	if line then
		socket.send(fd, (">s2"):pack(line))
	else
		socket.usleep(10000)
	end
end
