--- A service with a folder of its own.
local skynet = require "skynet"
local part = require "part"

skynet.start(function()
	print("folder", SERVICE_NAME, SERVICE_PATH, part, package.path)
	io.stdout:flush()
end)
