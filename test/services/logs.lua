--- Logs what its arguments say: `levels`, `flood n`, `each` line of standard input, `last`.

local skynet = require "skynet"
local each_line = require "each_line"
local log = require "skynet.log"
require "skynet.manager"

local what, n = ...

local orders = {}

function orders.levels()
	for _, level in ipairs { log.level(), "debug", "warn", "error" } do
		log.level(level)
		for _, name in ipairs { "debug", "info", "warn", "error" } do
			log[name](level, name, log.enabled(name))
		end
	end
	print(pcall(log.level, "loud"))
	skynet.error "plain"
	skynet.timeout(10, skynet.abort)
end

function orders.flood()
	for i = 1, tonumber(n) do
		skynet.error("line", i, ("x"):rep(100))
	end
	skynet.timeout(50, function()
		skynet.error "after the flood"
		skynet.abort()
	end)
end

function orders.last()
	for i = 1, 1000 do
		skynet.error("last words", i)
	end
	skynet.abort()
end

function orders.each()
	each_line(skynet.error)
	skynet.abort()
end

skynet.start(function()
	skynet.fork(orders[what])
end)
