--- Starts a reader of datasheets before anybody has loaded the builder.

local skynet = require "skynet"
require "skynet.manager"

if (...) == "reader" then
	local datasheet = require "skynet.datasheet"
	skynet.start(function()
		print("ready", (pcall(datasheet.query, "none")))
	end)
	return
end

skynet.start(function()
	local ready
	skynet.fork(function()
		skynet.newservice("sheetorder", "reader")
		ready = true
	end)
	skynet.sleep(20)
	print("before", ready)
	require "skynet.datasheet.builder"
	while not ready do
		skynet.sleep(1)
	end
	print("after", ready)
	skynet.abort()
end)
