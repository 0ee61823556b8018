--- Asks the https server given, says what came, and ends the node.
local skynet = require "skynet"
require "skynet.manager"
local host = ...

skynet.start(function()
	if not host then
		require "ltls.c"
	end
	local ok, status = pcall(require "http.httpc".request, "GET", host, "/", nil, nil, nil, 3000)
	skynet.error(ok and "status " .. status or status)
	if not ok then
		error "the request failed"
	end
	skynet.timeout(0, skynet.abort)
end)
