-- Fills and uses sproto slots, then answers one message and ends.
local skynet = require "skynet"
local core = require "sproto.core"
local sproto = require "sproto"
local parser = require "sprotoparser"
local loader = require "sprotoloader"

local jobs = {}

function jobs.save(slot, text)
	loader.save(parser.parse(text), slot)
	return "ended"
end

-- Save, load, use and delete, while others do the same with the same slot.
function jobs.race(slot, text, seed)
	math.randomseed(seed)
	local bundle = parser.parse(text)
	local done = 0
	loader.save(bundle, slot)
	for i = 1, 200 do
		local sp = loader.load(slot)
		local t = sp:decode("A", sp:encode("A", { x = i, s = { { x = 1 }, { x = 2 } } }))
		assert(t.x == i and t.s[2].x == 2)
		local own = sproto.new(bundle)
		assert(own:decode("A", "\1\0\4\0").x == 1)
		if math.random(3) == 1 then
			core.saveproto(own.__cobj, slot)
		elseif math.random(3) == 1 then
			loader.save(bundle, slot)
		end
		if math.random(10) == 1 then
			collectgarbage()
			skynet.yield()
		end
		done = done + 1
	end
	return done
end

skynet.start(function()
	skynet.dispatch("lua", function(_, _, what, ...)
		skynet.ret(skynet.pack(jobs[what](...)))
		skynet.exit()
	end)
end)
