--- For fuzz targets of database drivers: bytes in place of a socket, so that no node is needed.
--
-- Put in front of everything that requires skynet.socket. source.sock(bytes) is a sock object for
-- skynet.db.stream that reads them in pieces, and fails like a closed connection at their end.

local source = {}

local closed = setmetatable({}, { __tostring = function() return "[Error: socket]" end })
local sources = {}

package.loaded["skynet.socketchannel"] = { error = closed }
package.loaded["skynet.socket"] = {
	read = function(id, n)
		local s = sources[id]
		n = n or s.piece
		s.piece = s.piece * 2 + 1
		local data = s.bytes:sub(s.pos, s.pos + n - 1)
		s.pos = s.pos + #data
		return #data > 0 and #data <= n and data or false
	end,
	write = function()
		return true
	end,
}

---@param bytes string
---@return table sock
function source.sock(bytes)
	sources[1] = { bytes = bytes, pos = 1, piece = 1 }
	return { 1 }
end

--- Run a parser; what it raises must be the connection's end or one of its own texts.
---@param f function
---@param ... any
---@return boolean ok, any result
function source.run(f, ...)
	local ok, err = xpcall(f, function(e)
		if e == closed or type(e) == "table" and e.badresult then
			return e
		elseif type(e) == "string" and not e:find "%.lua:%d+:" then
			return e
		end
		return { trace = debug.traceback(tostring(e), 2) }
	end, ...)
	if not ok and type(err) == "table" and err.trace then
		error(err.trace, 0)
	end
	return ok, err
end

return source
