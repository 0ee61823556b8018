--- Digests and encodings of skynet.crypt, in bytes per second.
local bench = require "bench"
local crypt = require "skynet.crypt"
local skynet = require "skynet"

local function speed(name, bytes, f, ...)
	local n = bench.scale(math.max(1000, 400000000 // (bytes + 4096)))
	for _ = 1, n // 10 do
		f(...)
	end
	local begin = skynet.hpc()
	for _ = 1, n do
		f(...)
	end
	bench.report(name, bytes * n / ((skynet.hpc() - begin) / 1e9) / 1e6, "MB/s")
end

bench.main(function()
	local text = ("0123456789abcdef"):rep(256)
	speed("sha1 of 4 KB", #text, crypt.sha1, text)
	speed("sha1 of 64 B", 64, crypt.sha1, text:sub(1, 64))
	speed("hmac_sha1 of 4 KB", #text, crypt.hmac_sha1, "key", text)
	speed("base64encode of 4 KB", #text, crypt.base64encode, text)
	speed("base64decode of 4 KB", #text, crypt.base64decode, crypt.base64encode(text))
	speed("hexencode of 4 KB", #text, crypt.hexencode, text)
	speed("desencode of 4 KB", #text, crypt.desencode, "12345678", text)
	speed("desencode of 32 B", 32, crypt.desencode, "12345678", text:sub(1, 32))
end)
