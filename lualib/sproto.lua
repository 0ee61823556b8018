--- Messages by schema: the object around a schema, and remote calls (hosts).
--
-- A schema lives in C and is shared by address; the object here caches the addresses of types
-- and protocols by name. A host is one end of a connection: it takes messages apart and knows
-- which answer belongs to which request it has sent. Nothing here reads or writes sockets.

local core = require "sproto.core"

local assert, error, setmetatable = assert, error, setmetatable
local encode, decode, pack, unpack = core.encode, core.decode, core.pack, core.unpack

---@class sproto
local sproto = {}
local host = {}

local mt = { __index = sproto }
local owner_mt = {
	__index = sproto,
	__gc = function(self)
		core.deleteproto(self.__cobj)
	end,
}
local host_mt = { __index = host }

--- A schema object from a bundle; frees the schema when it's collected.
---@param bundle string  from sprotoparser.parse
---@return sproto
function sproto.new(bundle)
	local handle = assert(core.newproto(bundle), "sproto.new: the bundle is malformed")
	return setmetatable({ __cobj = handle, __types = {}, __protos = {} }, owner_mt)
end

--- A schema object over a handle that somebody else owns (see sproto.core.loadproto).
---@param handle lightuserdata
---@return sproto
function sproto.sharenew(handle)
	return setmetatable({ __cobj = handle, __types = {}, __protos = {} }, mt)
end

--- Compile a schema and make an object of it.
---@param text string
---@return sproto
function sproto.parse(text)
	return sproto.new(require("sprotoparser").parse(text))
end

local function find_type(self, typename)
	local t = self.__types[typename]
	if not t then
		t = core.querytype(self.__cobj, typename)
		if not t then
			error(("sproto: %s: type not found"):format(typename), 3)
		end
		self.__types[typename] = t
	end
	return t
end

--- Is there a type of this name?
---@param typename string
---@return boolean
function sproto:exist_type(typename)
	return self.__types[typename] ~= nil or core.querytype(self.__cobj, typename) ~= nil
end

--- Encode a table. Raises errors that name the type and field with a wrong value.
---@param typename string
---@param tbl table
---@return string
function sproto:encode(typename, tbl)
	return encode(find_type(self, typename), tbl)
end

--- Decode a message. Raises `decode error`.
---@param typename string
---@param ... any  a string, or a pointer and its size in bytes; then, optionally, a table to fill
---@return table
---@return integer used  bytes of the message
function sproto:decode(typename, ...)
	return decode(find_type(self, typename), ...)
end

--- Encode and pack.
---@param typename string
---@param tbl table
---@return string
function sproto:pencode(typename, tbl)
	return pack(encode(find_type(self, typename), tbl))
end

--- Unpack and decode.
---@param typename string
---@param blob string|userdata
---@param size integer|nil  bytes, if blob is a pointer
---@return table
---@return integer used  bytes of the unpacked message
function sproto:pdecode(typename, blob, size)
	return decode(find_type(self, typename), unpack(blob, size))
end

---@class sproto.protocol
---@field name string
---@field tag integer
---@field request lightuserdata|nil   type handle
---@field response lightuserdata|nil  type handle; NULL for `response nil`

local function find_proto(self, key)
	local p = self.__protos[key]
	if p then
		return p
	end
	local other, request, response = core.protocol(self.__cobj, key)
	if not other then
		return nil
	end
	local name, tag = key, other
	if type(key) == "number" then
		name, tag = other, math.tointeger(key)
	end
	p = self.__protos[tag] or { name = name, tag = tag, request = request, response = response }
	self.__protos[name], self.__protos[tag] = p, p
	return p
end

local function need_proto(self, key)
	return find_proto(self, key) or error(("%s not found"):format(key), 3)
end

--- What the schema says of a protocol. The table is shared: don't change it.
--- Raises `NAME not found`.
---@param key string|integer  name or tag
---@return sproto.protocol
function sproto:queryproto(key)
	return need_proto(self, key)
end

--- Is there a protocol of this name or tag?
---@param key string|integer
---@return boolean
function sproto:exist_proto(key)
	return find_proto(self, key) ~= nil
end

--- Encode the body of a request.
---@param proto string|integer
---@param tbl table|nil
---@return string bytes  "" if the protocol has no request type
---@return integer tag
function sproto:request_encode(proto, tbl)
	local p = need_proto(self, proto)
	return p.request and encode(p.request, tbl) or "", p.tag
end

--- Encode the body of a response; "" if the protocol has no response type.
---@param proto string|integer
---@param tbl table|nil
---@return string
function sproto:response_encode(proto, tbl)
	local p = need_proto(self, proto)
	return p.response and encode(p.response, tbl) or ""
end

--- Decode the body of a request.
---@param proto string|integer
---@param ... any  a string, or a pointer and its size in bytes
---@return table|nil
---@return string name
function sproto:request_decode(proto, ...)
	local p = need_proto(self, proto)
	return p.request and decode(p.request, ...) or nil, p.name
end

--- Decode the body of a response; no value if the protocol has no response type.
---@param proto string|integer
---@param ... any  a string, or a pointer and its size in bytes
---@return table
---@return integer used
function sproto:response_decode(proto, ...)
	local p = need_proto(self, proto)
	if p.response then
		return decode(p.response, ...)
	end
end

sproto.pack = pack
sproto.unpack = unpack

--- A table of the default values of a type, or of one side of a protocol.
---@param name string  a type; with `side` a protocol
---@param side nil|"REQUEST"|"RESPONSE"
---@return table|nil
function sproto:default(name, side)
	if side == nil then
		return core.default(find_type(self, name))
	end
	local p = need_proto(self, name)
	if side == "REQUEST" then
		if p.request then
			return core.default(p.request)
		end
	elseif side == "RESPONSE" then
		if p.response then
			return core.default(p.response)
		end
	else
		error "Invalid type"
	end
end

---------------------------------------------------------------------------------------------
-- Remote calls

---@class sproto.host

--- One end of a connection, which decodes with this schema.
---@param packagename string|nil  type of the header; default "package"
---@param limit integer|nil  most bytes of an unpacked message (default and most: 16 MiB)
---@return sproto.host
function sproto:host(packagename, limit)
	packagename = packagename or "package"
	if not self:exist_type(packagename) then
		error(("sproto: %s is missing: type package not found"):format(packagename), 2)
	end
	return setmetatable({
		__proto = self,
		__package = find_type(self, packagename),
		__session = {},
		__limit = limit,
	}, host_mt)
end

local function join(header, type, body)
	if type then
		return pack(header .. encode(type, body))
	end
	return pack(header)
end

-- The function that answers one request.
local function responder(self, p, session)
	local package, response = self.__package, p.response
	return function(args, ud)
		return join(encode(package, { session = session, ud = ud }), response, args)
	end
end

local function dispatch_request(self, header, bin, used)
	local p = need_proto(self.__proto, header.type)
	local args, reply
	if p.request then
		args = decode(p.request, bin:sub(used + 1))
	end
	if header.session then
		reply = responder(self, p, header.session)
	end
	return "REQUEST", p.name, args, reply, header.ud
end

local function dispatch_response(self, header, bin, used)
	local session = header.session
	if not session then
		error("session not found", 3)
	end
	local response = self.__session[session]
	if response == nil then
		error("Unknown session", 3)
	end
	self.__session[session] = nil
	if response then
		return "RESPONSE", session, (decode(response, bin:sub(used + 1))), header.ud
	end
	return "RESPONSE", session, nil, header.ud
end

--- Take a message apart.
--- Raises `session not found`, `Unknown session`, `TAG not found`, and what unpack and decode raise.
---@param blob string|userdata
---@param size integer|nil  bytes, if blob is a pointer
---@return "REQUEST"|"RESPONSE"
---@return string|integer  name of the protocol; or the session
---@return table|nil  arguments; or the result
---@return (fun(args: table|nil, ud: any): string)|any  makes the answer, nil if none is wanted; or ud
---@return any ud  of a request
function host:dispatch(blob, size)
	local bin = unpack(blob, size, self.__limit)
	local header, used = decode(self.__package, bin)
	if header.type then
		return dispatch_request(self, header, bin, used)
	end
	return dispatch_response(self, header, bin, used)
end

--- A function that makes requests to a peer.
---@param remote sproto  the protocols of the peer
---@return fun(name: string|integer, args: table|nil, session: integer|nil, ud: any): string
function host:attach(remote)
	local package, sessions = self.__package, self.__session
	return function(name, args, session, ud)
		local p = need_proto(remote, name)
		local header = encode(package, { type = p.tag, session = session, ud = ud })
		local message = join(header, p.request, args)
		if session then
			sessions[session] = p.response or false
		end
		return message
	end
end

--- Stop waiting for the response of a session. A response that comes later is an unknown session.
---@param session integer
---@return boolean  was it waited for?
function host:forget(session)
	local waiting = self.__session[session] ~= nil
	self.__session[session] = nil
	return waiting
end

return sproto
