--- The document format of datasheets: how a table becomes one byte string, and back.
--
-- All numbers are little-endian and 32 bits wide:
--
--   offset of the string table, n, n offsets of tables (from the end of this index, or ABSENT)
--   tables: array_n, dict_n, a type byte for each value (padded to 4), array_n values,
--           dict_n times the key's offset in the string table and a value
--   strings, each ended by a NUL
--
-- Table 0 is the root. The format knows no 64-bit numbers: integers of 32 bits stay integers, and
-- so do floats without a fraction in that range (2.0 becomes 2); everything else is stored as a
-- 32-bit float, with its precision. Strings can't contain a NUL.

local concat = table.concat
local mtype = math.type
local pack = string.pack
local unpack = string.unpack

local dump = {}

local NIL, INTEGER, FLOAT, BOOLEAN, TABLE, STRING = 0, 1, 2, 3, 4, 5
local ABSENT = 0xffffffff
local MAX_DEPTH = 128
local TRUE, FALSE = "\0\0\0\1", "\0\0\0\0"

---------------------------------------------------------------------------------------------
-- Nodes: { array_n =, types = {}, values = {}, keys = {} }, values of the array part first. A
-- document is { n = tables, [0] = root, ... } of them; a TABLE value is an index.

local function fail(path, what)
	error(("datasheet: in [%s]: %s"):format(path, what), 0)
end

local function number_type(v)
	if mtype(v) == "float" and v >= -0x80000000 and v <= 0x7fffffff and v == math.floor(v) then
		return INTEGER, math.tointeger(v)
	elseif mtype(v) == "integer" and v >= -0x80000000 and v <= 0x7fffffff then
		return INTEGER, v
	end
	return FLOAT, v + 0.0
end

local function check_string(s, path)
	if s:find("\0", 1, true) then
		fail(path, "a string contains a NUL byte")
	end
	return s
end

local add_table

local function add_value(doc, node, v, key, path, depth)
	local kind = type(v)
	local n = #node.types + 1
	if kind == "number" then
		node.types[n], node.values[n] = number_type(v)
	elseif kind == "boolean" then
		node.types[n], node.values[n] = BOOLEAN, v
	elseif kind == "string" then
		node.types[n], node.values[n] = STRING, check_string(v, path)
	elseif kind == "table" then
		node.types[n] = TABLE
		node.values[n] = 0
		node.values[n] = add_table(doc, v, ("%s.%s"):format(path, key), depth + 1)
	elseif kind == "nil" then
		node.types[n], node.values[n] = NIL, 0
	else
		fail(path, ("Unsupport value %s"):format(tostring(v)))
	end
end

function add_table(doc, t, path, depth)
	if depth > MAX_DEPTH then
		fail(path, "tables are nested too deep (do they form a cycle?)")
	end
	local index = doc.n
	local array_n = #t
	local node = { array_n = array_n, types = {}, values = {}, keys = {} }
	doc[index] = node
	doc.n = index + 1
	for i = 1, array_n do
		add_value(doc, node, t[i], i, path, depth)
	end
	for k, v in pairs(t) do
		if not (mtype(k) == "integer" and k >= 1 and k <= array_n) then
			if type(k) ~= "string" then
				fail(path, ("the key %s is neither a string nor in a dense list: assertion failed!"):format(
					tostring(k)))
			end
			node.keys[#node.keys + 1] = check_string(k, path)
			add_value(doc, node, v, k, path, depth)
		end
	end
	return index
end

---------------------------------------------------------------------------------------------
-- Writing

local function string_table()
	local offset, pieces, size = {}, {}, 0
	local function add(s)
		local at = offset[s]
		if not at then
			at = size
			offset[s] = at
			pieces[#pieces + 1] = s
			size = size + #s + 1
		end
		return pack("<I4", at)
	end
	return add, function()
		pieces[#pieces + 1] = ""
		return concat(pieces, "\0")
	end
end

local function encode_value(kind, v, add_string)
	if kind == INTEGER then
		return pack("<i4", v)
	elseif kind == FLOAT then
		return pack("<f", v)
	elseif kind == BOOLEAN then
		return v and TRUE or FALSE
	elseif kind == STRING then
		return add_string(v)
	end
	return pack("<I4", v)
end

local function encode_node(node, add_string)
	local n = #node.types
	local out = {
		pack("<i4i4", node.array_n, n - node.array_n),
		string.char(table.unpack(node.types, 1, math.min(n, 200))),
	}
	for i = 201, n, 200 do
		out[#out + 1] = string.char(table.unpack(node.types, i, math.min(i + 199, n)))
	end
	out[#out + 1] = ("\0"):rep(-n % 4)
	for i = 1, node.array_n do
		out[#out + 1] = encode_value(node.types[i], node.values[i], add_string)
	end
	for i = node.array_n + 1, n do
		out[#out + 1] = add_string(node.keys[i - node.array_n])
		out[#out + 1] = encode_value(node.types[i], node.values[i], add_string)
	end
	return concat(out)
end

local function encode(doc)
	local add_string, strings = string_table()
	local index, tables, size = {}, {}, 0
	for i = 0, doc.n - 1 do
		local node = doc[i]
		if node then
			local bytes = encode_node(node, add_string)
			index[i + 1] = pack("<I4", size)
			tables[#tables + 1] = bytes
			size = size + #bytes
		else
			index[i + 1] = pack("<I4", ABSENT)
		end
	end
	local begin = 8 + doc.n * 4 + size
	return pack("<I4I4", begin, doc.n) .. concat(index) .. concat(tables) .. strings()
end

---------------------------------------------------------------------------------------------
-- Reading

local function decode_value(bytes, strings, kind, at)
	if kind == INTEGER then
		return (unpack("<i4", bytes, at))
	elseif kind == FLOAT then
		return (unpack("<f", bytes, at))
	elseif kind == BOOLEAN then
		return bytes:sub(at, at + 3) ~= FALSE
	elseif kind == STRING then
		return (unpack("z", bytes, strings + unpack("<I4", bytes, at) + 1))
	end
	return (unpack("<I4", bytes, at))
end

local function decode_node(bytes, strings, at)
	local array_n, dict_n, types = unpack("<i4i4", bytes, at)
	local n = array_n + dict_n
	if array_n < 0 or dict_n < 0 or types + n - 1 > #bytes then
		error "a table is outside"
	end
	local node = { array_n = array_n, types = {}, values = {}, keys = {} }
	at = types + ((n + 3) & ~3)
	for i = 1, n do
		local kind = bytes:byte(types + i - 1)
		if i > array_n then
			node.keys[i - array_n] = decode_value(bytes, strings, STRING, at)
			at = at + 4
		end
		node.types[i] = kind
		node.values[i] = decode_value(bytes, strings, kind, at)
		at = at + 4
	end
	return node
end

local function decode(bytes)
	local strings, n, at = unpack("<I4I4", bytes)
	local begin = at + n * 4
	local total = 0
	local doc = { n = n }
	if begin - 1 > #bytes then
		error "the index is outside"
	end
	for i = 0, n - 1 do
		local offset = unpack("<I4", bytes, at + i * 4)
		if offset ~= ABSENT then
			doc[i] = decode_node(bytes, strings, begin + offset)
			total = total + #doc[i].types
			if total > #bytes then
				error "tables overlap"
			end
		end
	end
	return doc
end

local function decode_document(bytes)
	local ok, doc = pcall(decode, bytes)
	if not ok or not doc[0] then
		error(("datasheet: invalid document: %s"):format(ok and "it has no root" or tostring(doc)), 0)
	end
	return doc
end

-- One Lua table for each index, also when a hostile document refers to one twice.
local function build(doc, index, made)
	local t = made[index]
	if t then
		return t
	end
	local node = doc[index]
	if not node then
		error(("datasheet: invalid document: table %d is absent"):format(index), 0)
	end
	t = {}
	made[index] = t
	for i, kind in ipairs(node.types) do
		local key = i <= node.array_n and i or node.keys[i - node.array_n]
		local v = node.values[i]
		if kind == TABLE then
			-- built by undump's loop, not here: documents may be nested deeper than a stack
			made.pending[#made.pending + 1] = { t, key, v }
		elseif kind ~= NIL then
			t[key] = v
		end
	end
	return t
end

---------------------------------------------------------------------------------------------

--- The document of a table. Keys: strings and 1..n; values: numbers, booleans, strings without NUL,
--- tables. Raises `assertion failed!` for other keys, `Unsupport value ...` for other values.
---@param t table
---@return string
function dump.dump(t)
	local doc = { n = 0 }
	add_table(doc, t, "", 0)
	return encode(doc)
end

--- The table of a document. Raises `invalid document` when it's none.
---@param bytes string
---@return table
function dump.undump(bytes)
	local doc = decode_document(bytes)
	local made = { pending = {} }
	local root = build(doc, 0, made)
	local pending = made.pending
	while #pending > 0 do
		made.pending = {}
		for _, p in ipairs(pending) do
			p[1][p[2]] = build(doc, p[3], made)
		end
		pending = made.pending
	end
	return root
end

local function keyed_tables(node)
	local map = {}
	for i, kind in ipairs(node.types) do
		if kind == TABLE then
			map[i <= node.array_n and i or node.keys[i - node.array_n]] = node.values[i]
		end
	end
	return map
end

-- Give the tables of `current` the indices that those of the same paths have in `last`.
local function match(last, current, number)
	local todo = { { 0, 0 } }
	number[0] = 0
	while #todo > 0 do
		local pair = table.remove(todo)
		local old, new = last[pair[1]], current[pair[2]]
		if old and new then
			local before = keyed_tables(old)
			for key, index in pairs(keyed_tables(new)) do
				if before[key] and not number[index] then
					number[index] = before[key]
					todo[#todo + 1] = { before[key], index }
				end
			end
		end
	end
end

--- The document `current`, numbered after `last`: a table whose path was there keeps its index, new
--- ones get indices behind all of last's, and those of vanished tables are absent.
---@param last string
---@param current string|table
---@return string
function dump.diff(last, current)
	local old = decode_document(last)
	local new = decode_document(type(current) == "table" and dump.dump(current) or current)
	local number = {}
	match(old, new, number)
	local doc = { n = old.n }
	for i = 0, new.n - 1 do
		if new[i] then
			if not number[i] then
				number[i] = doc.n
				doc.n = doc.n + 1
			end
			doc[number[i]] = new[i]
		end
	end
	for i = 0, doc.n - 1 do
		local node = doc[i]
		for j, kind in ipairs(node and node.types or {}) do
			if kind == TABLE then
				node.values[j] = number[node.values[j]] or error("datasheet: invalid document", 0)
			end
		end
	end
	return encode(doc)
end

return dump
