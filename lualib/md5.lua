--- MD5: sums, HMAC, and the functions of md5.core. For checksums and old protocols, not for
--- security.

local md5 = require "md5.core"

local BLOCK = 64
local inner = ("\x36"):rep(BLOCK)
local outer = ("\x5c"):rep(BLOCK)

local function hex(bytes)
	return (bytes:gsub(".", function(c)
		return ("%02x"):format(c:byte())
	end))
end

--- MD5 in lower-case hexadecimal digits.
---@param text string
---@return string digits  32 characters
function md5.sumhexa(text)
	return hex(md5.sum(text))
end

--- HMAC-MD5 (RFC 2104) in hexadecimal digits. Mind the order: the data comes first.
---@param data string
---@param key string  of any length
---@return string digits  32 characters
function md5.hmacmd5(data, key)
	if #key > BLOCK then
		key = md5.sum(key)
	end
	key = key .. ("\0"):rep(BLOCK - #key)
	return hex(md5.sum(md5.exor(key, outer) .. md5.sum(md5.exor(key, inner) .. data)))
end

return md5
