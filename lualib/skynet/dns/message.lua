--- Messages of the domain name system: questions for addresses, and what answers tell.
--
-- No name in an answer is followed but the question's own, which stands at a fixed place and is
-- compared with what was asked: so pointers, which could lead anywhere, are never followed.
-- Everything else an answer claims is checked against its size.

local byte, sub, pack, unpack = string.byte, string.sub, string.pack, string.unpack

local IN = 1 -- the class of internet addresses
local SOA = 6
local RESPONSE, TRUNCATED = 0x8000, 0x0200
local HEADER = 12 -- bytes
local NEGATIVE_MAX = 300 -- seconds that "no such name" is believed, at most
local TTL_MAX = 86400 -- seconds that an address is believed, at most

local message = {
	A = 1,
	AAAA = 28,
}

-- outcomes of an answer
message.FINE, message.NO_SUCH_NAME = 0, 3

---------------------------------------------------------------------------------------------
-- Questions

local function encode_name(name)
	return (name:gsub("%.$", ""):gsub("([^.]+)%.?", function(label)
		return pack("s1", label)
	end)) .. "\0"
end

--- A question, as bytes.
---@param id integer    1 to 65535
---@param name string   legal, in lower case
---@param kind integer  message.A or message.AAAA
---@return string
function message.encode(id, name, kind)
	return pack(">I2I2I2I2I2I2", id, 0x0100, 1, 0, 0, 0) .. encode_name(name) ..
		pack(">I2I2", kind, IN)
end

---------------------------------------------------------------------------------------------
-- Answers

-- Where the name at pos ends.
local function skip_name(msg, pos)
	while true do
		local n = byte(msg, pos)
		if not n then
			error "a name that ends too early"
		elseif n == 0 then
			return pos + 1
		elseif n >= 0xc0 then
			return pos + 2
		elseif n >= 0x40 then
			error "a label of no known kind"
		end
		pos = pos + n + 1
	end
end

local function address(kind, data)
	if kind == message.A and #data == 4 then
		return ("%d.%d.%d.%d"):format(byte(data, 1, 4))
	elseif kind == message.AAAA and #data == 16 then
		return ("%x:%x:%x:%x:%x:%x:%x:%x"):format(unpack(">I2I2I2I2I2I2I2I2", data))
	end
end

-- Call f(type, ttl, data) for each of `count` records; where they end.
local function each_record(msg, pos, count, f)
	for _ = 1, count do
		local kind, ttl, data
		pos = skip_name(msg, pos)
		if pos > #msg then
			error "a record that ends too early"
		end
		kind, _, ttl, data, pos = unpack(">I2I2I4s2", msg, pos)
		f(kind, ttl, data)
	end
	return pos
end

---@class skynet.dns.answer
---@field rcode integer
---@field truncated boolean|nil  there's more, by TCP
---@field list string[]          addresses
---@field ttl integer            seconds that this may be remembered

--- What an answer tells. Raises when it's none, or answers another question.
---@param msg string
---@param question string  the bytes that were sent
---@return skynet.dns.answer
function message.decode(msg, question)
	local _, flags, questions, answers, authorities = unpack(">I2I2I2I2I2", msg)
	local asked = sub(question, HEADER + 1)
	if flags & RESPONSE == 0 or questions ~= 1 then
		error "not an answer"
	elseif sub(msg, HEADER + 1, HEADER + #asked):lower() ~= asked then
		error "answers another question"
	end
	local rcode = flags & 15
	if flags & TRUNCATED ~= 0 then
		return { rcode = rcode, truncated = true, list = {}, ttl = 0 }
	end
	local wanted = unpack(">I2", asked, -4)
	local list, ttl, negative = {}, TTL_MAX, 0
	local pos = each_record(msg, HEADER + #asked + 1, answers, function(kind, lifetime, data)
		local text = kind == wanted and address(kind, data)
		if text then
			list[#list + 1] = text
			ttl = math.min(ttl, lifetime)
		end
	end)
	if #list > 0 and rcode == message.FINE then
		return { rcode = rcode, list = list, ttl = ttl }
	end
	each_record(msg, pos, authorities, function(kind, lifetime, data)
		if kind == SOA and #data >= 22 then
			negative = math.min(NEGATIVE_MAX, lifetime, (unpack(">I4", data, #data - 3)))
		end
	end)
	return { rcode = rcode, list = {}, ttl = negative }
end

return message
