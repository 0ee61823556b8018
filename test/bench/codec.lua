--- sproto and bson: messages of a game encoded and decoded, in one service.
local bench = require "bench"
local bson = require "bson"
local sproto = require "sproto"

local schema = [[
.Item { id 0 : integer  count 1 : integer  name 2 : string }
.Player {
	id 0 : integer  name 1 : string  level 2 : integer  alive 3 : boolean  x 4 : double  y 5 : double
	items 6 : *Item  friends 7 : *integer  guild 8 : string  tags 9 : *string
}
]]

local function player()
	local items = {}
	for i = 1, 10 do
		items[i] = { id = 1000 + i, count = i * 7, name = "item number " .. i }
	end
	return { id = 123456789, name = "a player's name", level = 42, alive = true, x = 1.5, y = -2.25,
		items = items, friends = { 1, 20, 300, 40000, 5000000 }, guild = "the guild of nobody",
		tags = { "red", "green", "blue" } }
end

-- Report how often fn() ran in a second of CPU time, and the bytes of `size` each time.
local function measure(name, n, size, fn)
	collectgarbage()
	local begin = os.clock()
	for _ = 1, n do
		fn()
	end
	local seconds = os.clock() - begin
	bench.report(name, n / seconds, "/s")
	bench.report(name .. " bytes", size * n / seconds / 1e6, "MB/s")
end

bench.main(function()
	local n = bench.scale(60000)
	local value = player()
	local sp = sproto.parse(schema)
	local message = sp:encode("Player", value)
	local packed = sproto.pack(message)
	measure("sproto encode", n, #message, function() sp:encode("Player", value) end)
	measure("sproto decode", n, #message, function() sp:decode("Player", message) end)
	measure("sproto pack", n, #message, function() sproto.pack(message) end)
	measure("sproto unpack", n, #message, function() sproto.unpack(packed) end)
	local doc = bson.encode(value)
	measure("bson encode", n, #doc, function() bson.encode(value) end)
	measure("bson decode", n, #doc, function() bson.decode(doc) end)
end)
