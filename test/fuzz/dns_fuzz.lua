--- Fuzz target: answers of a name server.

package.path = "./lualib/?.lua;" .. package.path
local message = require "skynet.dns.message"

local questions = {
	message.encode(0x1234, "www.example.com", message.A),
	message.encode(0x1234, "v6.example.com", message.AAAA),
}

-- Texts of the parser, and of string.unpack, that a bad answer ends in.
local function is_expected(err)
	return err:find "not an answer$" or err:find "another question$" or err:find "too early$" or
		err:find "no known kind$" or err:find "data string too short" or err:find "too large"
end

--- Decode one answer, to both questions. Raises when the parser does what it must not.
---@param bytes string
function fuzz(bytes)
	for _, question in ipairs(questions) do
		-- half of the time as an answer to the right question
		for _, msg in ipairs { bytes, question:sub(1, 2) .. bytes:sub(3, 12) .. question:sub(13) ..
			bytes:sub(13) } do
			local ok, answer = pcall(message.decode, msg, question)
			if not ok then
				assert(is_expected(answer), answer)
			else
				assert(#answer.list <= #msg / 14 and answer.ttl >= 0 and answer.ttl <= 86400)
			end
		end
	end
end
