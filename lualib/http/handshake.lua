--- The opening handshake of WebSockets (RFC 6455, section 4), as questions and answers: what is
--- wrong with a request, what to answer, what to send, what is wrong with an answer.

local core = require "http.core"
local message = require "http.message"

---@class http.handshake
local handshake = {}

-- One value, in one header line.
local function single(header, name)
	local value = header[name]
	return type(value) == "string" and value or nil
end

-- Does a list of words, maybe in several lines, have this one?
local function has_word(value, word)
	if type(value) == "table" then
		value = table.concat(value, ",")
	end
	for w in (value or ""):gmatch "[^,%s]+" do
		if w:lower() == word then
			return true
		end
	end
	return false
end

-- The first offered protocol that this side speaks.
local function choose(offer, protocols)
	if type(offer) == "table" then
		offer = table.concat(offer, ",")
	end
	for word in offer:gmatch "[^,%s]+" do
		for _, p in ipairs(protocols) do
			if p == word then
				return p
			end
		end
	end
end

local function allowed_origin(origin, allowed)
	for _, o in ipairs(allowed) do
		if o == origin then
			return true
		end
	end
	return false
end

local function key_problem(key)
	if not key then
		return "Sec-WebSocket-Key Required"
	elseif not (#key == 24 and key:find "^[%w+/]+==$") then -- 16 bytes
		return "Sec-WebSocket-Key invalid"
	end
end

--- What is wrong with a request to open a WebSocket?
---@param header table
---@param options table  see websocket.accept: protocols, origins
---@return integer|nil code  nil: nothing
---@return string text_or_protocol  why; or the chosen sub-protocol, if any
---@return table|nil extra  header of the answer
function handshake.check(header, options)
	local upgrade = single(header, "upgrade")
	if not upgrade or upgrade:lower() ~= "websocket" then
		return 426, "Upgrade Required", { upgrade = "websocket" }
	elseif not header.host then
		return 400, "host Required"
	elseif not has_word(header.connection, "upgrade") then
		return 400, "Connection must Upgrade"
	end
	local problem = key_problem(single(header, "sec-websocket-key"))
	if problem then
		return 400, problem
	elseif single(header, "sec-websocket-version") ~= "13" then
		return 400, "Sec-WebSocket-Version must 13", { ["sec-websocket-version"] = "13" }
	elseif options.origins and not allowed_origin(header.origin, options.origins) then
		return 403, "Origin not allowed"
	end
	local offer, protocols = header["sec-websocket-protocol"], options.protocols or { "chat" }
	if offer and options.protocols ~= false then
		local chosen = choose(offer, protocols)
		if not chosen then
			return 400, "Sec-WebSocket-Protocol need include " .. table.concat(protocols, " or ")
		end
		return nil, chosen
	end
end

--- The answer that opens the WebSocket.
---@param header table  of the request
---@param protocol string|nil  chosen
---@return string
function handshake.answer(header, protocol)
	return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		.. "Sec-WebSocket-Accept: " .. core.accept(header["sec-websocket-key"]) .. "\r\n"
		.. (protocol and "Sec-WebSocket-Protocol: " .. protocol .. "\r\n" or "") .. "\r\n"
end

local RESERVED = {
	["upgrade"] = true, ["connection"] = true, ["sec-websocket-version"] = true,
	["sec-websocket-key"] = true,
}

--- A client's request, and its key.
--- Raises the name of a header that isn't the caller's to set.
---@param host string    for the host header
---@param target string
---@param header table|nil  more header
---@return string request
---@return string key
function handshake.request(host, target, header)
	local key = core.key()
	local out = {
		("GET %s HTTP/1.1\r\n"):format(target),
		"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
		("Sec-WebSocket-Key: %s\r\n"):format(key),
	}
	local own_host = false
	for name in pairs(header or {}) do
		if RESERVED[name:lower()] then
			error(name)
		end
		own_host = own_host or name:lower() == "host"
	end
	if not own_host then
		out[#out + 1] = ("Host: %s\r\n"):format(host)
	end
	message.fields(out, header or {}, ": ")
	out[#out + 1] = "\r\n"
	return table.concat(out), key
end

--- Check a server's answer with status 101. Raises what is wrong with it.
---@param header table  of the answer
---@param key string
---@param offer string|string[]|nil  the sub-protocols that were offered
---@return string|nil protocol  the server's choice
function handshake.verify(header, key, offer)
	local upgrade = single(header, "upgrade")
	if not upgrade or upgrade:lower() ~= "websocket" then
		error "websocket handshake upgrade must websocket"
	elseif not has_word(header.connection, "upgrade") then
		error "websocket handshake connection must upgrade"
	end
	local accept = single(header, "sec-websocket-accept")
	if not accept then
		error "websocket handshake need Sec-WebSocket-Accept"
	elseif accept ~= core.accept(key) then
		error "websocket handshake invalid Sec-WebSocket-Accept"
	end
	local protocol = header["sec-websocket-protocol"]
	if protocol and not (type(protocol) == "string" and offer and choose(offer, { protocol })) then
		error "websocket handshake invalid Sec-WebSocket-Protocol"
	end
	return protocol
end

return handshake
