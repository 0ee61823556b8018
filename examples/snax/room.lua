--- A chat room: a snax service. Everybody who uses it reads this file, too, for the names of its
--- methods: so its top level only declares locals and functions.

local skynet = require "skynet"
local snax = require "skynet.snax"

local name
local members = {} -- who -> number of lines said
local lines = {}

--- Sent, not answered: room.post.say(who, text)
function accept.say(who, text)
	members[who] = (members[who] or 0) + 1
	lines[#lines + 1] = ("%s: %s"):format(who, text)
end

--- Called: room.req.enter(who) returns how many are in the room.
function response.enter(who)
	members[who] = members[who] or 0
	local count = 0
	for _ in pairs(members) do
		count = count + 1
	end
	return count
end

--- A request may block; others are served meanwhile.
function response.read(from, wait)
	skynet.sleep(wait or 0)
	return table.concat(lines, "\n", from)
end

--- Gets the arguments of snax.newservice.
function init(room)
	name = room
	snax.printf("room %s opens", name)
end

--- Gets the arguments of snax.kill.
function exit(reason)
	snax.printf("room %s closes after %d lines: %s", name, #lines, reason)
end
