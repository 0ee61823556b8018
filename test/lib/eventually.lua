--- Wait until f() is true, a minute at most, and return what it gave; else raise `why`.
local skynet = require "skynet"

---@generic T
---@param f fun(): T|nil|false
---@param why? string
---@return T
return function(f, why)
	local deadline = skynet.now() + 6000
	repeat
		local v = f()
		if v then
			return v
		end
		skynet.sleep(1)
	until skynet.now() > deadline
	error(why or "this never came true", 2)
end
