--- WebSocket messages echoed. Needs a C compiler, for the program that makes the load.
-- workers: 3
local skynet = require "skynet"
local bench = require "bench"
local load = require "load"
local websocket = require "http.websocket"

if (...) == "server" then
	local handle = {
		message = function(id, data, format)
			websocket.write(id, data, format)
		end,
	}
	load.server(function(id)
		websocket.accept(id, handle, "ws")
	end)
	return
end

local function parse(output)
	local n, p50, p99 = output:match "^(%d+) ([%d.]+) ([%d.]+)"
	return tonumber(n), tonumber(p50), tonumber(p99)
end

bench.main(function()
	local program = os.tmpname()
	assert(os.execute(("cc -O2 -o %s %s/ws_load.c"):format(program, skynet.getenv "bench_dir")))
	local port = skynet.call(skynet.newservice(SERVICE_NAME, "server"), "lua")
	local seconds = math.max(1, bench.scale(3))
	for _, connections in ipairs { 1, 100 } do
		for _, bytes in ipairs { 16, 1024 } do
			load.run(("websocket echo %d B, %d connections"):format(bytes, connections),
				("%s %d %d %d %d"):format(program, port, connections, bytes, seconds), parse, seconds)
		end
	end
	os.remove(program)
end)
