--- Ends the node while shared things of every kind are in use and on their way.

local skynet = require "skynet"
local multicast = require "skynet.multicast"
local sharedata = require "skynet.sharedata"
local stm = require "skynet.stm"
require "skynet.manager"

if (...) == "user" then
	skynet.start(function()
		local box = sharedata.query "everything"
		skynet.dispatch("lua", function(_, _, id, copy)
			local channel = multicast.new {
				channel = id,
				dispatch = function()
					skynet.sleep(0)
				end,
			}
			channel:subscribe()
			KEEP = { box, channel, stm.newcopy(copy) }
			skynet.ret()
		end)
	end)
	return
end

skynet.start(function()
	sharedata.new("everything", { list = { 1, 2, 3 } })
	local channel = multicast.new()
	local writer = stm.new "text"
	for _ = 1, 10 do
		local user = skynet.newservice("endofnode", "user")
		skynet.call(user, "lua", channel.channel, stm.copy(writer))
	end
	stm.copy(writer)
	for i = 1, 200 do
		channel:publish(i)
		sharedata.update("everything", { list = { i } })
	end
	print "ending"
	skynet.abort()
end)
