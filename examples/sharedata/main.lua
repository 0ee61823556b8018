--- Publishes a table of items, starts shops that read it, and changes a price.
local skynet = require "skynet"
local sharedata = require "skynet.sharedata"
require "skynet.manager"

local items = {
	{ id = 1, name = "sword", price = 100 },
	{ id = 2, name = "shield", price = 80 },
	currency = "gold",
}

skynet.start(function()
	sharedata.new("items", items)
	local shops = {}
	for i = 1, 3 do
		shops[i] = skynet.newservice("shop", i)
	end
	for _, shop in ipairs(shops) do
		print(skynet.call(shop, "lua", "offer", 1))
	end

	-- A new version replaces the whole; shops hear of it by message and see it from then on.
	items[1].price = 90
	sharedata.update("items", items)
	for _, shop in ipairs(shops) do
		skynet.call(shop, "lua", "wait_for_price", 1, 90)
		print(skynet.call(shop, "lua", "offer", 1))
	end

	-- A copy is the caller's own, and may be changed.
	local copy = sharedata.deepcopy("items", 2)
	copy.price = 0
	print("a copy may be changed, the shared table can't:",
		pcall(function() sharedata.query("items")[2].price = 0 end))
	skynet.abort()
end)
