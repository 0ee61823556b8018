--- Where the key of a Redis command is, and the slot of a cluster that it belongs to.

local crc16 = require "skynet.db.redis.crc16"

local keys = {}

local SLOTS = 16384

--- Slot of a key: of its first {...} that isn't empty, or of all of it.
---@param key any
---@return integer  0 to 16383
function keys.slot(key)
	key = tostring(key)
	local open = key:find("{", 1, true)
	local close = open and key:find("}", open + 1, true)
	if close and close > open + 1 then
		key = key:sub(open + 1, close - 1)
	end
	return crc16(key) % SLOTS
end

-- The key after a word like STREAMS; nil when the word isn't there.
local function after(word)
	return function(argv)
		for i = 1, argv.n do
			if type(argv[i]) == "string" and argv[i]:upper() == word then
				return argv[i + 1]
			end
		end
	end
end

local function at(i)
	return function(argv)
		return argv[i]
	end
end

-- SCRIPT NUMKEYS KEY ...: all keys must share a slot.
local function of_script(argv, command)
	local n = tonumber(argv[2]) or 0
	for i = 2, n do
		assert(keys.slot(argv[2 + i]) == keys.slot(argv[3]),
			command .. " - all keys must map to the same key slot")
	end
	return n > 0 and argv[3] or nil
end

local function nowhere()
end

-- command -> f(argv, command); others have their key first
local places = {
	info = nowhere, multi = nowhere, exec = nowhere, slaveof = nowhere, config = nowhere,
	shutdown = nowhere,
	eval = of_script, evalsha = of_script, eval_ro = of_script, evalsha_ro = of_script,
	fcall = of_script, fcall_ro = of_script,
	xread = after "STREAMS", xreadgroup = after "STREAMS",
	bitop = at(2), object = at(2), memory = at(2), xgroup = at(2), xinfo = at(2),
	zunion = at(2), zinter = at(2), zdiff = at(2), zintercard = at(2), sintercard = at(2),
	lmpop = at(2), zmpop = at(2), blmpop = at(3), bzmpop = at(3),
	migrate = function(argv)
		local key = argv[3]
		return key ~= "" and key or after "KEYS"(argv)
	end,
}

--- The first key of a command; nil when it has none, and no node can be told from it.
--- Raises when the keys of a script belong to different slots.
---@param command string
---@param argv any[]  with the number of arguments as n
---@return any
function keys.of(command, argv)
	command = command:lower()
	local place = places[command]
	if place then
		return place(argv, command)
	end
	return argv[1]
end

return keys
