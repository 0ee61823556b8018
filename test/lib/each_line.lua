--- Call f(line) for each line of standard input, until it ends.
local socket = require "skynet.socket"

---@param f fun(line: string)
return function(f)
	local stdin = socket.stdin()
	while true do
		local line = socket.readline(stdin)
		if not line then
			return
		end
		f(line)
	end
end
