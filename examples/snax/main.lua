--- Opens a room, talks in it, and patches it while a request is being served.
local skynet = require "skynet"
local snax = require "skynet.snax"
require "skynet.manager" -- for abort

local function read_file(path)
	local f = assert(io.open(path))
	local text = f:read "a"
	f:close()
	return text
end

skynet.start(function()
	local room = snax.newservice("room", "lobby")
	print("the room's object", room)
	print("members after Ann", room.req.enter "Ann")
	print("members after Bob", room.req.enter "Bob")
	room.post.say("Ann", "hello")
	room.post.say("Bob", "darn, it's cold")

	local late
	skynet.fork(function()
		late = room.req.read(1, 20) -- it waits while the patch is applied
	end)
	skynet.sleep(1)
	print("dropped, kept", snax.hotfix(room, read_file "./examples/snax/room_patch.lua", 1))
	room.post.say("Ann", "oh darn")
	while not late do
		skynet.sleep(1)
	end
	print("what was said", (late:gsub("\n", " | ")))

	local info = snax.profile_info(room)
	print("calls of say", info.say.count)
	snax.kill(room, "everybody went home")
	print "the example is done"
	skynet.abort()
end)
