--- Carry out the orders that come on standard input, a line each: a name, then words. Each in a
--- coroutine of its own, until the input ends.
local skynet = require "skynet"
local each_line = require "each_line"

---@param orders table<string, function>
---@param failed fun(name: string, err: any)
return function(orders, failed)
	each_line(function(line)
		local words = {}
		for word in line:gmatch "%S+" do
			words[#words + 1] = word
		end
		skynet.fork(function()
			local ok, err = pcall(orders[words[1]], table.unpack(words, 2))
			if not ok then
				failed(words[1], err)
			end
		end)
	end)
end
