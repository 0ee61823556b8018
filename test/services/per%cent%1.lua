--- A name with characters that mean something in patterns.
local skynet = require "skynet"

skynet.start(function()
	print("percent", SERVICE_NAME)
	io.stdout:flush()
end)
