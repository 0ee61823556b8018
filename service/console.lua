--- Start services by typing their names: reads lines from standard input.

local skynet = require "skynet"
local socket = require "skynet.socket"

local function run(line)
	local words = {}
	for word in line:gmatch "%S+" do
		words[#words + 1] = word
	end
	if #words == 0 then
		return
	end
	local ok, err
	if words[1] == "snax" and words[2] then
		local snax = require "skynet.snax"
		ok, err = pcall(snax.newservice, table.unpack(words, 2))
	else
		ok, err = pcall(skynet.newservice, table.unpack(words))
	end
	if not ok then
		skynet.error(("console: can't start %s: %s"):format(table.concat(words, " "), err))
	end
end

local function read_lines()
	local stdin = socket.stdin()
	while stdin do
		local line, rest = socket.readline(stdin, "\n")
		if not line then
			run(rest or "") -- a last line that isn't ended
			return -- the node goes on without input
		end
		run(line)
	end
end

skynet.start(function()
	skynet.fork(read_lines)
end)
