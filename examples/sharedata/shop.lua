--- Reads the shared table of items.
local skynet = require "skynet"
local sharedata = require "skynet.sharedata"

local number = ...
local items
local command = {}

function command.offer(i)
	local item = items[i]
	return ("shop %s sells a %s for %d %s"):format(number, item.name, item.price, items.currency)
end

function command.wait_for_price(i, price)
	while items[i].price ~= price do
		skynet.sleep(1)
	end
end

skynet.start(function()
	items = sharedata.query "items"
	skynet.dispatch("lua", function(_, _, cmd, ...)
		skynet.retpack(command[cmd](...))
	end)
end)
