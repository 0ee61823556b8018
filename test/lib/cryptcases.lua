--- What module crypt must compute, for skynet.crypt and client.crypt alike: cases(crypt, it) declares
--- the specs.

local assert = require "luassert"

local function unhex(s)
	return (s:gsub("%x%x", function(b)
		return string.char(tonumber(b, 16))
	end))
end

local A, B = unhex "0102030405060708", unhex "1112131415161718"
local ZERO, ONES = ("\0"):rep(8), ("\xff"):rep(8)

return function(crypt, it)
	local hex = crypt.hexencode

	local function raises(text, f, ...)
		local ok, err = pcall(f, ...)
		assert.is_false(ok)
		assert.truthy(tostring(err):find(text, 1, true), tostring(err))
	end

	-- rows of { expected hex, arguments... }
	local function table_of(f, rows)
		for _, row in ipairs(rows) do
			assert.equal(row[1], hex(f(table.unpack(row, 2))))
		end
	end

	it("hashkey", function()
		table_of(crypt.hashkey, {
			{ "05150000a7c6674e", "" },
			{ "06b602004d00f5ae", "a" },
			{ "9930920fcbef1867", "hello" },
			{ "43bef41bac48ce7f", "skynet" },
			{ "de38cc3438feefdf", "The quick brown fox jumps over the lazy dog" },
			{ "a5b502002e00f5ae", "\0" },
			{ "5f118b0b38bd9e1a", "\255\254\253" },
		})
	end)

	it("randomkey gives eight bytes, another each time", function()
		local seen = {}
		for _ = 1, 1000 do
			local k = crypt.randomkey()
			assert.equal(8, #k)
			assert.is_nil(seen[k])
			seen[k] = true
			local sum = 0
			for i = 1, 8 do
				sum = sum ~ k:byte(i)
			end
			assert.is_true(sum ~= 0 or k:byte() % 2 == 1)
		end
	end)

	it("hmac64, hmac64_md5 and hmac_hash", function()
		table_of(crypt.hmac64, {
			{ "d57d01ec003f67fc", A, B },
			{ "21c9cc2dc9243334", B, A },
			{ "a2a90fe5ec190ee5", ZERO, ZERO },
			{ "ed59c45d1d393a56", ONES, A },
			{ "ac9ffda9547a027a", "12345678", "abcdefgh" },
		})
		table_of(crypt.hmac64_md5, {
			{ "96a426cb1ef9f754", A, B },
			{ "f9e74fbbd591075c", B, A },
			{ "54ffbebd728133f0", ZERO, ZERO },
			{ "c2a34748cf834af4", "12345678", "abcdefgh" },
		})
		table_of(crypt.hmac_hash, {
			{ "7a3851a6280017c1", A, "hello" },
			{ "d49c41903be1acb7", "12345678", "" },
			{ "29b2ba814d9bca8d", "12345678", "skynet:gate" },
		})
		for _, f in ipairs { crypt.hmac64, crypt.hmac64_md5 } do
			raises("Invalid uint64 x", f, "short", A)
			raises("Invalid uint64 y", f, A, "longer than eight")
		end
		raises("Invalid uint64 key", crypt.hmac_hash, "", "text")
	end)

	it("desencode and desdecode", function()
		local iso, pkcs7 = crypt.padding.iso7816_4, crypt.padding.pkcs7
		assert.same({ iso7816_4 = 0, pkcs7 = 1 }, crypt.padding)
		local rows = {
			{ "", "8d3d438a718b4510", "feb959b7d4642fcb" },
			{ "1", "6fdf9691d18e0e2a", "83a02d809ba5eaad" },
			{ "1234567", "8f0d7f23efa6d019", "998a3e058213e353" },
			{ "12345678", "96d0028878d58c898d3d438a718b4510", "96d0028878d58c89feb959b7d4642fcb" },
			{ "hello world", "28dba02eb5f6dd4706b5c56593dcbe2c", "28dba02eb5f6dd475d82e3681c83bb77" },
			{ "123456789012345", "96d0028878d58c89db53cf7282b4290a", "96d0028878d58c8990024df4f2104506" },
		}
		for _, row in ipairs(rows) do
			local text = row[1]
			assert.equal(row[2], hex(crypt.desencode("12345678", text)))
			assert.equal(row[2], hex(crypt.desencode("12345678", text, iso)))
			assert.equal(row[3], hex(crypt.desencode("12345678", text, pkcs7)))
			assert.equal(text, crypt.desdecode("12345678", unhex(row[2])))
			assert.equal(text, crypt.desdecode("12345678", unhex(row[3]), pkcs7))
		end
		local standard = crypt.desencode(unhex "133457799bbcdff1", unhex "0123456789abcdef")
		assert.equal("85e813540f0ab40587ab78d11e188df6", hex(standard))
		-- parity bits say nothing
		assert.equal(standard, crypt.desencode(unhex "123556789abddef0", unhex "0123456789abcdef"))
		local long = ("0123456789"):rep(1000)
		assert.equal(long, crypt.desdecode(A, crypt.desencode(A, long)))
		assert.equal(long, crypt.desdecode(A, crypt.desencode(A, long, pkcs7), pkcs7))
	end)

	it("refuses what DES can't be", function()
		raises("Invalid key size 7, need 8 bytes", crypt.desencode, "1234567", "x")
		raises("Invalid key size 0, need 8 bytes", crypt.desdecode, "", "12345678")
		raises("Invalid padding mode 2", crypt.desencode, "12345678", "x", 2)
		raises("Invalid padding mode -1", crypt.desdecode, "12345678", "12345678", -1)
		raises("Invalid des crypt text length 0", crypt.desdecode, "12345678", "")
		raises("Invalid des crypt text length 9", crypt.desdecode, "12345678", "123456789")
		local iso = crypt.desencode("12345678", "abc")
		raises("Invalid des crypt text", crypt.desdecode, "12345678", iso, crypt.padding.pkcs7)
		-- blocks of zeros only, and a padding byte that promises too much
		local zeros = crypt.desencode("12345678", ZERO):sub(1, 8)
		raises("Invalid des crypt text", crypt.desdecode, "12345678", zeros)
		local nines = crypt.desencode("12345678", ("\9"):rep(8)):sub(1, 8)
		raises("Invalid des crypt text", crypt.desdecode, "12345678", nines, crypt.padding.pkcs7)
	end)

	it("dhexchange and dhsecret", function()
		table_of(crypt.dhexchange, {
			{ "0500000000000000", unhex "0100000000000000" },
			{ "1900000000000000", unhex "0200000000000000" },
			{ "984e1418283235ed", A },
			{ "4e2ea6baf651b377", ONES },
			{ "963c2ce6be8c4d83", unhex "0000000000000080" },
			{ "0100000000000000", unhex "c4ffffffffffffff" },
			{ "0500000000000000", unhex "c5ffffffffffffff" },
		})
		local one, two, ten = unhex "0100000000000000", unhex "0200000000000000", unhex "0a00000000000000"
		local prime = unhex "c5ffffffffffffff"
		table_of(crypt.dhsecret, {
			{ "98c8a946ef79df88", crypt.dhexchange(B), A },
			{ "98c8a946ef79df88", crypt.dhexchange(A), B },
			{ "0004000000000000", two, ten },
			{ "3a00000000000000", ONES, one },
			{ "240d000000000000", ONES, two },
			{ "0000000000000000", prime, two },
		})
		for _ = 1, 200 do
			local a, b = crypt.randomkey(), crypt.randomkey()
			assert.equal(crypt.dhsecret(crypt.dhexchange(a), b), crypt.dhsecret(crypt.dhexchange(b), a))
		end
		raises("Invalid dh uint64 key", crypt.dhexchange, "1")
		raises("Can't be 0", crypt.dhexchange, ZERO)
		raises("Invalid uint64 x", crypt.dhsecret, "1", A)
		raises("Invalid uint64 y", crypt.dhsecret, A, "1")
		raises("Can't be 0", crypt.dhsecret, ZERO, A)
		raises("Can't be 0", crypt.dhsecret, A, ZERO)
	end)

	it("base64", function()
		local rows = {
			{ "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" }, { "foob", "Zm9vYg==" },
			{ "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" }, { "\0\255\254", "AP/+" },
		}
		for _, row in ipairs(rows) do
			assert.equal(row[2], crypt.base64encode(row[1]))
			assert.equal(row[1], crypt.base64decode(row[2]))
		end
		assert.equal("foo", crypt.base64decode "Zm 9v")
		assert.equal("foo", crypt.base64decode " Zm9v")
		assert.equal("foobar", crypt.base64decode "Zm9v\r\nYmFy")
		assert.equal("f", crypt.base64decode "Zg")
		assert.equal("fo", crypt.base64decode "Zm8")
		assert.equal("ff", crypt.base64decode "Zg==Zg==")
		for _, bad in ipairs {
			"Z", "=", "====", "Zm9=", "Zg=a", "-_-_", "Zm9v\n", "Zh==", "Zm9vZ", "\n", "=Zg=",
		} do
			raises("Invalid base64 text", crypt.base64decode, bad)
		end
		local bytes = {}
		for i = 0, 255 do
			bytes[i + 1] = string.char(i)
			local text = table.concat(bytes)
			assert.equal(text, crypt.base64decode(crypt.base64encode(text)))
		end
	end)

	it("hexencode and hexdecode", function()
		assert.equal("0001abff", hex "\0\1\171\255")
		assert.equal("\0\1\171\255", crypt.hexdecode "0001abff")
		assert.equal("", crypt.hexdecode "")
		raises("Invalid hex text size 3", crypt.hexdecode, "abc")
		for _, bad in ipairs { "AB", "zz", "g0", "0g", " 0", "0x" } do
			raises("Invalid hex text", crypt.hexdecode, bad)
		end
	end)

	it("sha1 and hmac_sha1", function()
		table_of(crypt.sha1, {
			{ "da39a3ee5e6b4b0d3255bfef95601890afd80709", "" },
			{ "a9993e364706816aba3e25717850c26c9cd0d89d", "abc" },
		})
		table_of(crypt.hmac_sha1, {
			{ "de7c9b85b8b78aa6bc8a7a36f70a90701c9db4d9", "key", "The quick brown fox jumps over the lazy dog" },
			{ "fbdb1d1b18aa6c08324b7d64b71fb76370690e1d", "", "" },
			{ "2c31eadf68d9ba971ad29339d28ce725b03c11f6", ("k"):rep(64), "x" },
			{ "7209aca75ec680871725fd309aa689746677dbd4", ("k"):rep(65), "x" },
		})
	end)

	it("xor_str", function()
		table_of(crypt.xor_str, {
			{ "030015070a591c0a0b0701", "hello world", "key" },
			{ "191b", "ab", "xyz" },
			{ "", "", "a" },
		})
		raises("Can't xor empty string", crypt.xor_str, "a", "")
	end)

	it("refuses arguments that aren't strings", function()
		for name, f in pairs(crypt) do
			if type(f) == "function" and name ~= "randomkey" then
				assert.is_false(pcall(f))
				assert.is_false(pcall(f, {}, {}))
			end
		end
	end)
end
