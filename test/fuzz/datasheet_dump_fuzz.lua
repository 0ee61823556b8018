--- Fuzz target: reading datasheet documents in Lua, and numbering them after another one.

package.path = "./lualib/?.lua;" .. package.path
local dump = require "skynet.datasheet.dump"

local base = dump.dump { 1, "text", e = { k = { 1, 2, true, "s" } }, f = 0.5, x = {} }

--- Raises when the reader does what it must not.
---@param bytes string
function fuzz(bytes)
	local before = collectgarbage "count"
	local ok, t = pcall(dump.undump, bytes)
	if ok then
		assert(type(t) == "table")
		local written, again = pcall(dump.dump, t) -- not always: tables may form a cycle
		if written then
			assert(pcall(dump.undump, again))
		end
	end
	local fine, renumbered = pcall(dump.diff, base, bytes)
	if ok and fine then -- without ok, it may refer to an absent table, and does so still
		assert(pcall(dump.undump, renumbered))
	end
	local grown = (collectgarbage "count" - before) * 1024
	assert(grown < 1e6 + 2000 * #bytes, "a document took too much memory")
end
