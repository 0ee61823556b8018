--- Ends the node as soon as it has started.
local skynet = require "skynet"
require "skynet.manager"

skynet.start(function()
	skynet.timeout(0, skynet.abort)
end)
