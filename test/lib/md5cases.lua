--- What module md5 must compute, inside the runtime and outside of it.
local assert = require "luassert"

return function(md5, it)
	local function hex(s)
		return (s:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
	end

	it("sums", function()
		assert.equal("d41d8cd98f00b204e9800998ecf8427e", md5.sumhexa "")
		assert.equal("900150983cd24fb0d6963f7d28e17f72", md5.sumhexa "abc")
		assert.equal("900150983cd24fb0d6963f7d28e17f72", hex(md5.sum "abc"))
		assert.equal(require "md5.core", md5)
		assert.equal("MD5 1.2", md5._VERSION)
		assert.equal("string", type(md5._COPYRIGHT))
		assert.equal("string", type(md5._DESCRIPTION))
	end)

	it("hmacmd5 takes the data first", function()
		assert.equal("80070713463e7749b90c2dc24911e275",
			md5.hmacmd5("The quick brown fox jumps over the lazy dog", "key"))
		assert.equal("60ed424c45100759e87ce1addd1c6e78", md5.hmacmd5("x", ("k"):rep(80)))
	end)

	it("exor", function()
		assert.equal("\3\0", md5.exor("ab", "bb"))
		assert.error_matches(function() md5.exor("a", "bb") end, "lengths must be equal")
	end)

	it("crypt and decrypt", function()
		local text = "hello world this is longer than sixteen"
		local sealed = md5.crypt(text, "key", "seed")
		assert.equal("0473656564c78025b74eeaf25687f4eaa7ad0d3367279990a262e5aedd9796a1a2"
			.. "c50890cc19b61a5977ce57", hex(sealed))
		assert.equal(text, md5.decrypt(sealed, "key"))
		assert.equal(8, md5.crypt(text, "key"):byte())
		assert.equal(text, md5.decrypt(md5.crypt(text, "key"), "key"))
		assert.equal("", md5.decrypt(md5.crypt("", "key", ""), "key"))
		assert.error_matches(function() md5.crypt("x", ("k"):rep(257)) end, "key too long %(> 256%)")
		assert.error_matches(function() md5.crypt("x", "k", ("s"):rep(17)) end, "seed too long %(> 16%)")
		for _, bad in ipairs { "", "\1", "\17" .. ("x"):rep(40), "\255" } do
			assert.error_matches(function() md5.decrypt(bad, "k") end, "invalid cyphered string")
		end
	end)
end
