--- Starts the watchdog, which opens the gate. The environment variable GATE_PORT chooses another
--- port; 0 lets the system choose.
local skynet = require "skynet"

skynet.start(function()
	local watchdog = skynet.newservice "watchdog"
	local address, port = skynet.call(watchdog, "lua", "start", {
		address = "127.0.0.1",
		port = tonumber(os.getenv "GATE_PORT") or 8888,
		maxclient = 1024,
		nodelay = true,
	})
	skynet.error(("the gate listens at %s:%d"):format(address, port))
end)
