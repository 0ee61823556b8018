--- Print what services hold outside of their Lua heaps, and end.

local skynet = require "skynet"
local memory = require "skynet.memory"

memory.dumpinfo()
memory.dump()
for handle, bytes in pairs(memory.info()) do
	print(skynet.address(handle), bytes)
end
print("total", memory.total())
print("block", memory.block())
io.stdout:flush()

skynet.start(function()
	skynet.exit()
end)
