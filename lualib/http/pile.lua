--- A long string in the making: parts are added, and joined at the end.
--
-- A peer that sends single bytes must not make its receiver keep a table entry for each of them,
-- nor copy what is there again and again: after a number of parts they become one block.

local concat = table.concat

local JOIN = 1024

---@class http.pile
---@field count integer   blocks and parts
---@field blocks integer  the first entries are blocks
local pile = {}
pile.__index = pile

--- An empty one.
---@return http.pile
function pile.new()
	return setmetatable({ count = 0, blocks = 0 }, pile)
end

--- Add a part.
---@param bytes string
function pile:add(bytes)
	local count, blocks = self.count + 1, self.blocks
	self[count] = bytes
	if count - blocks == JOIN then
		self[blocks + 1] = concat(self, "", blocks + 1, count)
		for i = blocks + 2, count do
			self[i] = nil
		end
		self.blocks = blocks + 1
		count = blocks + 1
	end
	self.count = count
end

--- The whole.
---@return string
function pile:join()
	return concat(self, "", 1, self.count)
end

return pile
