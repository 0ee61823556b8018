-- A crowd comes and leaves; after that the node has nothing to do.
local skynet = require "skynet"
local memory = require "skynet.memory"

if (...) == "one" then
	skynet.start(function()
		skynet.dispatch("lua", skynet.exit)
	end)
	return
end

skynet.start(function()
	local all = {}
	for i = 1, 3000 do
		all[i] = skynet.newservice(SERVICE_NAME, "one")
	end
	for _, one in ipairs(all) do
		skynet.send(one, "lua")
	end
	while skynet.call(".launcher", "lua", "LIST")[skynet.address(all[#all])] do
		skynet.sleep(1)
	end
	print("all have left", memory.total() > 0 and "jemalloc" or "another allocator")
end)
