-- Takes memory until there is none: its VM's, or the process's.
local skynet = require "skynet"
require "skynet.manager"
local what = ...

local big = ("x"):rep(1 << 20)

local function fill_vm()
	local all = {}
	while #all < 1e6 do
		all[#all + 1] = big .. #all
	end
	return all
end

skynet.start(function()
	if what == "vm" then
		print("the VM said", pcall(fill_vm))
		collectgarbage()
		print("and goes on", #skynet.packstring(big) > #big)
		return skynet.abort()
	end
	while true do
		skynet.send(skynet.self(), "lua", big)
	end
end)
