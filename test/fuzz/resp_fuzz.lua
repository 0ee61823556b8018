--- Fuzz target: replies of a Redis server, with the push messages between them.

package.path = "./test/fuzz/?.lua;./lualib/?.lua;" .. package.path
local source = require "stream_source"
local resp = require "skynet.db.redis.resp"

local MAX = 1 << 20 -- bytes that a reply may take

local function ignore()
end

--- Read replies until the bytes end. Raises when the parser does what it must not.
---@param bytes string
function fuzz(bytes)
	local sock = source.sock(bytes)
	local before = collectgarbage "count"
	local ok
	repeat
		ok = source.run(resp.read, sock, MAX, ignore)
	until not ok
	local grown = (collectgarbage "count" - before) * 1024
	assert(grown < 64 * MAX + 100 * #bytes, "a reply took too much memory")
end
