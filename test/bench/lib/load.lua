--- Servers under load from other processes, for bench programs: rate, latency, and what an
--- operation costs the server in CPU time.
local skynet = require "skynet"
local socket = require "skynet.socket"
local bench = require "bench"

local load = {}

--- Be the server: listen, and serve(id) each connection in a coroutine; answers its port.
---@param serve fun(id: integer)
function load.server(serve)
	skynet.start(function()
		local listener, _, port = socket.listen("127.0.0.1", 0)
		if not port then -- not every runtime says which port it chose
			for _, s in ipairs(socket.netstat()) do
				if s.id == listener then
					port = tonumber(s.sock:match ":(%d+)$")
				end
			end
		end
		socket.start(listener, function(id)
			skynet.fork(serve, id)
		end)
		skynet.dispatch("lua", function()
			skynet.ret(skynet.pack(port))
		end)
	end)
end

--- Run a command that loads the server, and report. This blocks a worker: have one more.
---@param metric string
---@param command string
---@param parse fun(output: string): number, number, number  operations, p50 and p99 in us
---@param seconds number
function load.run(metric, command, parse, seconds)
	local cpu = os.clock()
	local pipe = assert(io.popen(command .. " 2>&1"))
	local output = pipe:read "a"
	pipe:close()
	cpu = os.clock() - cpu
	local n, p50, p99 = parse(output)
	if not n then
		error(("%s: %s"):format(command, output))
	end
	bench.report(metric, n / seconds, "/s")
	bench.report(metric .. " cpu", cpu / n * 1e6, "us")
	bench.report(metric .. " p50", p50, "us")
	bench.report(metric .. " p99", p99, "us")
end

return load
