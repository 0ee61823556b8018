--- Started through ownloader.
local skynet = require "skynet"
local cache = require "skynet.codecache"

skynet.start(function()
	if OWN_LOADER then
		print("own loader", OWN_LOADER() > 1, cache.mode(), SERVICE_NAME, SERVICE_PATH)
		io.stdout:flush()
	end
end)
