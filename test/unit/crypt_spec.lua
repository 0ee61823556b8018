-- Modules skynet.crypt, md5 and lpeg inside the runtime.

local md5 = require "md5"
local md5cases = require "md5cases"

describe("skynet.crypt", function()
	require "cryptcases"(require "skynet.crypt", it)
end)

describe("md5", function()
	md5cases(md5, it)
end)

describe("lpeg", function()
	it("is LPeg 1.1.0, with re", function()
		local lpeg = require "lpeg"
		assert.equal("LPeg 1.1.0", lpeg.version)
		assert.equal(4, lpeg.match(lpeg.utfR(0x4e00, 0x9fff), "\u{4e2d}x"))
		assert.equal("abc", require "re".match("abc!", "{[a-z]+}"))
	end)
end)
