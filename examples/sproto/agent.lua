--- One client's agent: takes requests apart, answers them, and sends notices.
--- A frame on the wire is two bytes of length, most significant first, and a packed message.
local skynet = require "skynet"
local socket = require "skynet.socket"
local loader = require "sprotoloader"
local slots = require "slots"

local LARGEST = 64 * 1024 -- bytes of an unpacked message: more than a client has reason to send

local host = loader.load(slots.TO_SERVER):host("package", LARGEST)
local push = host:attach(loader.load(slots.TO_CLIENT))
local fd
local bag = {}

local function send(message)
	socket.write(fd, string.pack(">s2", message))
end

local requests = {}

function requests.login(args)
	send(push("notice", { text = ("%s has come"):format(args.name) }))
	return { text = "welcome, " .. args.name, bag = bag }
end

function requests.put(args)
	local item = args.item
	bag[item.name] = { name = item.name, count = item.count + (bag[item.name] or { count = 0 }).count }
end

function requests.weigh(args)
	local total = 0
	for _, g in ipairs(args.grams) do
		total = total + g
	end
	return { total = total }
end

local quitting = false

function requests.quit()
	quitting = true
end

-- One message; raises what's wrong with it.
local function handle(message)
	local kind, name, args, respond = host:dispatch(message)
	assert(kind == "REQUEST", "this server asks nothing, so there's nothing to answer")
	local result = requests[name](args)
	if respond then
		send(respond(result))
	end
end

local function serve()
	socket.start(fd)
	while not quitting do
		local size = socket.read(fd, 2)
		local message = size and socket.read(fd, string.unpack(">I2", size))
		if not message then
			break
		end
		local ok, err = pcall(handle, message)
		if not ok then
			skynet.error("the client is thrown out:", err)
			break
		end
	end
	socket.close(fd)
	skynet.exit()
end

skynet.start(function()
	skynet.dispatch("lua", function(_, _, client)
		fd = client
		serve()
	end)
end)
