--- Fuzz the reader of bodies (lualib/http/source.lua): chunked, with a length, and heads before
--- them, handed over in pieces. Needs package.path to find lualib, package.cpath luaclib.
--
-- The first byte chooses how the rest is cut into pieces. Whatever the pieces are, the result is
-- the same; and what is accepted keeps the limit.

local core = require "http.core"
local internal = require "http.internal"
local source = require "http.source"

local LIMIT = 1000

local function reader(bytes, step)
	local at = 1
	return function()
		if at > #bytes then
			error "no more bytes"
		end
		local piece = bytes:sub(at, at + step - 1)
		at = at + step
		return piece
	end
end

local function chunked(bytes, step)
	local read = reader(bytes, step)
	local body = source.body(read, "chunked")
	local ok, all = pcall(body.all, body, LIMIT)
	if ok and all then
		assert(#all <= LIMIT, "more than the limit")
		internal.merge_trailer(body, {})
		body:finish()
		source.take(read)
		return all
	end
	return ok
end

local function message(bytes, step)
	local read = reader(bytes, step)
	local ok, size, method, target, header, framing = pcall(source.head, read, core.request, 8192)
	if not ok or not size then
		return ok
	end
	assert(method and target and header)
	local body = source.body(read, framing or 0)
	local good, all = pcall(body.all, body, LIMIT)
	return good and all
end

local function lines(bytes, step)
	local got = {}
	local ok, rest = pcall(internal.recvheader, reader(bytes, step), got, "")
	if ok and rest then
		internal.parseheader(got, 1, {})
	end
end

--- One input.
---@param bytes string
function fuzz(bytes) -- luacheck: ignore
	local step = 1 + (bytes:byte(1) or 0) % 16
	bytes = bytes:sub(2)
	assert(chunked(bytes, step) == chunked(bytes, math.max(#bytes, 1)), "pieces change the result")
	message(bytes, step)
	lines(bytes, step)
end
