--- Fuzz target: answers of a MySQL server. The first byte chooses what is read.

package.path = "./test/fuzz/?.lua;./lualib/?.lua;" .. package.path
local source = require "stream_source"
package.loaded["skynet.mysql.auth"] = {
	native = function() return ("n"):rep(20) end,
	caching = function() return ("c"):rep(32) end,
	seal = function() return ("s"):rep(256) end,
}
local login = require "skynet.db.mysql.login"
local packet = require "skynet.db.mysql.packet"
local result = require "skynet.db.mysql.result"
local statement = require "skynet.db.mysql.statement"

local MAX = 1 << 20 -- bytes that an answer may take

local options = { user = "u", password = "p", database = "", charset = 0, max_packet_size = 1 }

local LOGIN = 5
local readers = {
	[0] = function(sock) return result.read_text(sock, true) end,
	function(sock) return result.read_text(sock) end,
	function(sock) return result.read_binary(sock) end,
	statement.read,
	result.read_status,
	[LOGIN] = function(sock) return login.run(sock, options) end,
}

-- Sequence numbers as they must be, so that mutated sizes and payloads get further than them.
local function renumber(bytes, step)
	local parts, pos, number = {}, 1, 0
	while pos + 3 <= #bytes do
		local size = string.unpack("<I3", bytes, pos)
		parts[#parts + 1] = bytes:sub(pos, pos + 2) .. string.char(number & 0xff) ..
			bytes:sub(pos + 4, pos + 3 + size)
		number = number + step
		pos = pos + 4 + size
	end
	return table.concat(parts)
end

--- Read one answer. Raises when the parser does what it must not.
---@param bytes string
function fuzz(bytes)
	local which = (bytes:byte() or 0) % (#readers + 1)
	-- in a login, every other packet is the client's
	local sock = source.sock(renumber(bytes:sub(2), which == LOGIN and 2 or 1))
	packet.begin(sock, 0, MAX)
	local before = collectgarbage "count"
	source.run(readers[which], sock)
	local grown = (collectgarbage "count" - before) * 1024
	assert(grown < 64 * MAX + 100 * #bytes, "an answer took too much memory")
end
