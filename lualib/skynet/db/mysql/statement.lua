--- Prepared statements of MySQL: what's sent to prepare and run them, and their description.

local packet = require "skynet.db.mysql.packet"
local result = require "skynet.db.mysql.result"

local pack = string.pack

local PREPARE, EXECUTE, CLOSE, RESET = "\x16", "\x17", "\x19", "\x1a"
local TINY, DOUBLE, NULL, LONGLONG, VARCHAR = 1, 5, 6, 8, 15
local UNEXPECTED = 300201 -- our error number for a first packet that's none of the protocol's

local statement = {}

---@class skynet.db.mysql.statement
---@field prepare_id integer
---@field field_count integer
---@field param_count integer
---@field warning_count integer
---@field params table[]  { name =, type =, is_signed = true }
---@field fields table[]

---@param sql string
---@return string payload
function statement.prepare(sql)
	return PREPARE .. sql
end

--- Read the answer to a preparation: a statement, or an error table.
---@param sock table
---@return skynet.db.mysql.statement|table
function statement.read(sock)
	local payload = packet.read(sock)
	local first = payload:byte()
	if first == 0xff then
		return result.error(payload)
	elseif first ~= 0 then
		error({ badresult = true, errno = UNEXPECTED, err = "mysql: unexpected answer to prepare" })
	end
	local id, fields, params, warnings = packet.unpack("<I4I2I2xI2", payload, 2)
	return {
		prepare_id = id,
		field_count = fields,
		param_count = params,
		warning_count = warnings,
		params = result.columns(sock, params),
		fields = result.columns(sock, fields),
	}
end

-- Lua type -> type and bytes of a parameter
local encoders = {
	number = function(v)
		local n = math.tointeger(v)
		if n then
			return LONGLONG, pack("<i8", n)
		end
		return DOUBLE, pack("<d", v)
	end,
	string = function(v)
		return VARCHAR, packet.pack_string(v)
	end,
	boolean = function(v)
		return TINY, v and "\1" or "\0"
	end,
	["nil"] = function()
		return NULL, ""
	end,
}

-- One bit for each NULL.
local function null_bits(args)
	local bytes = {}
	for i = 1, (args.n + 7) // 8 do
		bytes[i] = 0
	end
	for i = 1, args.n do
		if args[i] == nil then
			local at = (i + 7) // 8
			bytes[at] = bytes[at] | 1 << (i - 1) % 8
		end
	end
	local text = {}
	for i, b in ipairs(bytes) do
		text[i] = string.char(b)
	end
	return table.concat(text)
end

--- Run a statement. Raises when the number or the type of an argument is wrong.
---@param stmt skynet.db.mysql.statement
---@param args any[]  with their number as n
---@return string payload
function statement.execute(stmt, args)
	if args.n ~= stmt.param_count then
		error(("require stmt.param_count %d get arg_num %d"):format(stmt.param_count, args.n), 0)
	end
	local head = EXECUTE .. pack("<I4BI4", stmt.prepare_id, 0, 1)
	if args.n == 0 then
		return head
	end
	local types, values = {}, {}
	for i = 1, args.n do
		local encode = encoders[type(args[i])]
		if not encode then
			error("invalid parameter type " .. type(args[i]), 0)
		end
		local kind
		kind, values[i] = encode(args[i])
		types[i] = pack("<I2", kind)
	end
	return head .. null_bits(args) .. "\1" .. table.concat(types) .. table.concat(values)
end

---@param stmt skynet.db.mysql.statement
---@return string payload
function statement.reset(stmt)
	return RESET .. pack("<I4", stmt.prepare_id)
end

---@param stmt skynet.db.mysql.statement
---@return string payload
function statement.close(stmt)
	return CLOSE .. pack("<I4", stmt.prepare_id)
end

return statement
