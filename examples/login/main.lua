--- Starts the login server and one game server, "eden". The environment variables LOGIN_PORT and
--- GAME_PORT choose other ports; 0 lets the system choose.
local skynet = require "skynet"

skynet.start(function()
	local login = skynet.newservice "logind"
	local game = skynet.newservice("gamed", login)
	local port = skynet.call(game, "lua", "open", {
		address = "127.0.0.1",
		port = tonumber(os.getenv "GAME_PORT") or 8888,
		maxclient = 1024,
		nodelay = true,
		servername = "eden",
	})
	skynet.error(("players log in at port %d, play at port %d"):format(
		skynet.call(login, "lua", "port"), port))
end)
