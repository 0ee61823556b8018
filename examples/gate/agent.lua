--- One client's agent: gets its frames from the gate, and writes answers straight to its socket.
local skynet = require "skynet"
local socket = require "skynet.socket"

local conf -- gate, client (the descriptor), watchdog

local function answer(text)
	socket.write(conf.client, string.pack(">s2", text))
end

local requests = {}

function requests.echo(text)
	answer(text)
end

function requests.time()
	answer(os.date "!%Y-%m-%d")
end

function requests.quit()
	answer "bye"
	skynet.send(conf.watchdog, "lua", "close", conf.client)
end

skynet.register_protocol {
	name = "client",
	id = skynet.PTYPE_CLIENT,
	unpack = skynet.tostring,
	dispatch = function(_, _, text)
		skynet.ignoreret() -- the session is the descriptor: there is nobody to answer
		local name, argument = text:match "^(%a+) ?(.*)$"
		local request = requests[name]
		if request then
			request(argument)
		else
			answer "what?"
		end
	end,
}

local commands = {}

function commands.start(c)
	conf = c
	-- from now on the gate reads, and sends the frames here; what is written before is lost
	skynet.call(conf.gate, "lua", "forward", conf.client)
	answer "welcome"
end

function commands.disconnect()
	skynet.exit()
end

skynet.start(function()
	skynet.dispatch("lua", function(session, _, cmd, ...)
		if session == 0 then
			commands[cmd](...)
		else
			skynet.retpack(commands[cmd](...))
		end
	end)
end)
