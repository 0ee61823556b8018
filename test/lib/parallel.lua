--- Run fn(i) for i = 1..n in coroutines of their own; returns when all have ended, and raises what
--- one of them raised.
local skynet = require "skynet"

---@param n integer
---@param fn fun(i: integer)
return function(n, fn)
	local left, main, failure = n, coroutine.running(), nil
	for i = 1, n do
		skynet.fork(function()
			local ok, err = pcall(fn, i)
			failure = failure or not ok and (err or "error")
			left = left - 1
			if left == 0 then
				skynet.wakeup(main)
			end
		end)
	end
	skynet.wait(main)
	if failure then
		error(failure, 0)
	end
end
