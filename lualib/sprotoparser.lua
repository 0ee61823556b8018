--- The compiler of sproto schemas: text in, binary bundle out.
--
-- A scanner that walks over the text with anchored patterns, a parser that makes one record per
-- type and protocol, a checker that resolves names, and a writer for the bundle. The bundle's
-- layout is canonical (everything sorted), since users store bundles and compare them.
--
-- Needs nothing but Lua.

local pack, rep = string.pack, string.rep
local sort, concat = table.sort, table.concat

local MAX_TAG = 32766
local MAX_DIGITS = 18 -- 10^18 is the largest power of ten in a 64-bit integer
local MAX_NESTING = 100

local BUILTIN = { integer = 0, boolean = 1, string = 2, binary = 2, double = 3 }

local sprotoparser = {}

---------------------------------------------------------------------------------------------
-- The scanner: { text, file, pos }. The parser decides by what comes next and never goes back,
-- so that `pos` is also the furthest place that was looked at.

local function fail(s)
	local before = s.text:sub(1, s.pos - 1)
	local _, newlines = before:gsub("\n", "")
	local near = s.text:match("^[%w_]+", s.pos) or s.text:match("^[^\r\n]", s.pos)
	error(("%s, column %d: syntax error at [%s] line (%d)"):format(
		near and ("near %q"):format(near) or "at the end of a line",
		#before:match("[^\n]*$") + 1, s.file, newlines + 1), 0)
end

-- What a pattern (anchored, with one capture or none) matches here, or nil.
local function accept(s, pattern)
	local first, last, capture = s.text:find(pattern, s.pos)
	if not first then
		return nil
	end
	s.pos = last + 1
	return capture or true
end

local function expect(s, pattern)
	return accept(s, pattern) or fail(s)
end

-- Pass over blanks and comments; true if there were any.
local function blank(s)
	local begin = s.pos
	repeat
		local more = accept(s, "^[ \t\n]+") or accept(s, "^\r\n") or accept(s, "^#[^\n]*")
	until not more
	return s.pos > begin
end

local function need_blank(s)
	return blank(s) or fail(s)
end

local NAME = "^([A-Za-z_][A-Za-z0-9_]*)"

local function typename(s)
	local parts = { expect(s, NAME) }
	while accept(s, "^%.") do
		parts[#parts + 1] = expect(s, NAME)
	end
	return concat(parts, ".")
end

local function tag_number(s, what)
	local digits = expect(s, "^(%d+)")
	local tag = tonumber(digits)
	if not math.tointeger(tag) or tag > MAX_TAG then
		error(("tag %s of %s is out of range (0..%d)"):format(digits, what, MAX_TAG), 0)
	end
	return math.tointeger(tag)
end

---------------------------------------------------------------------------------------------
-- The parser. `schema` is { types = {fullname -> type}, protocols = {name -> protocol} }.

local function new_type(schema, name)
	if schema.types[name] then
		error("redefined " .. name, 0)
	end
	local t = { name = name, fields = {}, names = {}, tags = {} }
	schema.types[name] = t
	return t
end

local function add_field(t, f)
	if t.names[f.name] then
		error(("redefine %s in type %s"):format(f.name, t.name), 0)
	elseif t.tags[f.tag] then
		error(("redefine tag %d in type %s"):format(f.tag, t.name), 0)
	end
	t.names[f.name], t.tags[f.tag] = f, f
	t.fields[#t.fields + 1] = f
end

-- What stands in parentheses behind a typename: digits of a decimal, or the main index.
local function parse_suffixes(s, f)
	while accept(s, "^%(") do
		blank(s)
		local digits = accept(s, "^(%d+)")
		if digits then
			f.digits = tonumber(digits)
		else
			f.index = accept(s, NAME) or ""
		end
		blank(s)
		expect(s, "^%)")
	end
end

local function parse_field(s, t)
	local f = { name = expect(s, NAME) }
	need_blank(s)
	f.tag = tag_number(s, ("%s in type %s"):format(f.name, t.name))
	blank(s)
	expect(s, "^:")
	blank(s)
	f.array = accept(s, "^%*")
	f.typename = typename(s)
	parse_suffixes(s, f)
	add_field(t, f)
end

-- The members of a type, the closing brace included.
local function parse_members(s, schema, t, nesting)
	blank(s)
	while not accept(s, "^}") do
		if accept(s, "^%.") then
			local name = t.name .. "." .. expect(s, NAME)
			blank(s)
			expect(s, "^{")
			if nesting >= MAX_NESTING then
				error(("type %s is nested too deep"):format(name), 0)
			end
			parse_members(s, schema, new_type(schema, name), nesting + 1)
		else
			parse_field(s, t)
		end
		blank(s)
	end
end

-- request or response: a typename, "nil", or a type in place.
local function parse_side(s, schema, p)
	local side = accept(s, "^(request)") or expect(s, "^(response)")
	need_blank(s)
	if p[side] ~= nil then
		error(("redefine %s in protocol %s"):format(side, p.name), 0)
	end
	if accept(s, "^{") then
		local name = p.name .. "." .. side
		p[side] = name
		parse_members(s, schema, new_type(schema, name), 1)
	else
		local name = typename(s)
		p[side] = name ~= "nil" and name
	end
	blank(s)
end

local function parse_protocol(s, schema)
	local p = { name = expect(s, NAME) }
	need_blank(s)
	p.tag = tag_number(s, "protocol " .. p.name)
	blank(s)
	expect(s, "^{")
	if schema.protocols[p.name] then
		error("redefined " .. p.name, 0)
	end
	schema.protocols[p.name] = p
	schema.order[#schema.order + 1] = p
	blank(s)
	while not accept(s, "^}") do
		parse_side(s, schema, p)
	end
end

local function parse_file(s)
	local schema = { types = {}, protocols = {}, order = {} }
	blank(s)
	while s.pos <= #s.text do
		if accept(s, "^%.") then
			local name = expect(s, NAME)
			blank(s)
			expect(s, "^{")
			parse_members(s, schema, new_type(schema, name), 1)
		else
			parse_protocol(s, schema)
		end
		blank(s)
	end
	return schema
end

---------------------------------------------------------------------------------------------
-- The checker

-- The user type that a name means inside a type: innermost scope first.
local function resolve(schema, name, scope)
	while scope do
		local t = schema.types[scope .. "." .. name]
		if t then
			return t
		end
		scope = scope:match "^(.+)%.[^.]+$"
	end
	return schema.types[name]
end

local function by_tag(a, b)
	return a.tag < b.tag
end

local function check_key(f, key, name)
	if not key or key.array or not BUILTIN[key.typename] then
		error(("Invalid map index :%s"):format(name), 0)
	end
	f.key = key.tag
end

local function check_index(f)
	if not f.array or not f.index then
		return -- what a plain field has in parentheses has no meaning
	elseif not f.type then
		error(("Invalid map index :%s of field %s, its elements aren't structs"):format(f.index, f.name), 0)
	elseif f.index == "" then
		if #f.type.fields ~= 2 then
			error(("Invalid map definition: %s, must only have two fields"):format(f.name), 0)
		end
		f.map = true
		check_key(f, f.type.fields[1], f.type.fields[1].name)
	else
		check_key(f, f.type.names[f.index], f.index)
	end
end

local function check_field(schema, t, f)
	f.builtin = BUILTIN[f.typename]
	if not f.builtin then
		f.type = resolve(schema, f.typename, t.name)
		if not f.type then
			error(("Undefined type %s in type %s"):format(f.typename, t.name), 0)
		end
	end
	if not f.digits then
		return
	elseif f.typename ~= "integer" then
		error(("field %s in type %s is %s(%d), only integers have decimals: assertion failed!"):format(
			f.name, t.name, f.typename, f.digits), 0)
	elseif f.digits > MAX_DIGITS then
		error(("field %s in type %s has %d decimals, the most is %d"):format(f.name, t.name,
			f.digits, MAX_DIGITS), 0)
	end
end

local function check_side(schema, p, side)
	if p[side] and not schema.types[p[side]] then
		error(("Undefined %s type %s in protocol %s"):format(side, p[side], p.name), 0)
	end
end

-- Everything resolved; returns the lists of types and protocols in the order of the bundle.
local function check(schema)
	local types, tags = {}, {}
	for _, t in pairs(schema.types) do
		types[#types + 1] = t
		sort(t.fields, by_tag)
	end
	sort(types, function(a, b) return a.name < b.name end)
	for i, t in ipairs(types) do
		t.index = i - 1
		for _, f in ipairs(t.fields) do
			check_field(schema, t, f)
		end
	end
	for _, t in ipairs(types) do
		for _, f in ipairs(t.fields) do
			check_index(f)
		end
	end
	for _, p in ipairs(schema.order) do
		if tags[p.tag] then
			error(("redefined protocol tag %d at %s"):format(p.tag, p.name), 0)
		end
		tags[p.tag] = p
		check_side(schema, p, "request")
		check_side(schema, p, "response")
	end
	sort(schema.order, by_tag)
	if #types == 0 and #schema.order > 0 then
		error("a schema with protocols needs at least one type: assertion failed!", 0)
	end
	return types, schema.order
end

---------------------------------------------------------------------------------------------
-- The writer

local DATA, SKIP = 0, 1 -- field words: value in the data part; no value under this tag

local function small(n)
	return (n + 1) * 2
end

local TRUE = small(1)

local function struct(words, ...)
	local items = table.pack(...)
	for i, item in ipairs(items) do
		items[i] = pack("<s4", item)
	end
	return pack("<I2" .. rep("I2", #words), #words, table.unpack(words)) .. concat(items)
end

local function array(list, write)
	local out = {}
	for i, item in ipairs(list) do
		out[i] = pack("<s4", write(item))
	end
	return concat(out)
end

local function write_field(f)
	local words
	if f.builtin then
		local extra = f.digits or (f.typename == "binary" and 1)
		words = { DATA, small(f.builtin), extra and small(extra) or SKIP, small(f.tag) }
	else
		words = { DATA, SKIP, small(f.type.index), small(f.tag) }
	end
	if f.array then
		words[5] = TRUE
	end
	if f.key then
		words[6] = small(f.key)
	end
	if f.map then
		words[7] = TRUE
	end
	return struct(words, f.name)
end

local function write_type(t)
	if #t.fields == 0 then
		return struct({ DATA }, t.name)
	end
	return struct({ DATA, DATA }, t.name, array(t.fields, write_field))
end

local function write_protocol(schema, p)
	local words = { DATA, small(p.tag) }
	if p.request then
		words[3] = small(schema.types[p.request].index)
	end
	if p.response ~= nil then
		words[3] = words[3] or SKIP
		words[4] = p.response and small(schema.types[p.response].index) or SKIP
	end
	if p.response == false then
		words[5] = TRUE
	end
	return struct(words, p.name)
end

--- Compile a schema.
--- Raises `near ..., column N: syntax error at [FILE] line (N)`, or an error that names what is
--- wrong with a type, a field or a protocol.
---@param text string
---@param filename string|nil  for errors; default "=text"
---@return string bundle  what sproto.new and sproto.core.newproto take
function sprotoparser.parse(text, filename)
	local s = { text = text, file = filename or "=text", pos = 1 }
	local schema = parse_file(s)
	local types, protocols = check(schema)
	if #types == 0 then
		return struct {}
	end
	local encoded = array(types, write_type)
	if #protocols == 0 then
		return struct({ DATA }, encoded)
	end
	return struct({ DATA, DATA }, encoded, array(protocols, function(p)
		return write_protocol(schema, p)
	end))
end

--- Print a string as a hex dump, 16 bytes a line.
---@param str string
function sprotoparser.dump(str)
	for i = 1, #str, 16 do
		local line = str:sub(i, i + 15)
		local hex = line:gsub(".", function(c) return ("%02X "):format(c:byte()) end)
		print(("%08X  %-48s %s"):format(i - 1, hex, (line:gsub("[^\32-\126]", "."))))
	end
end

return sprotoparser
