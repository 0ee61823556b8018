--- A key-value store that other nodes reach as "@simpledb".
local skynet = require "skynet"
local cluster = require "skynet.cluster"

local data = {}
local command = {}

function command.set(key, value)
	local before = data[key]
	data[key] = value
	return before
end

function command.get(key)
	return data[key]
end

--- Listen on one more port, of the system's choice: the node is about to move.
function command.listen()
	local _, port = cluster.open(0)
	return port
end

--- Call back into the node that asked: links have two ends, each node opens its own.
function command.visit(node, address)
	cluster.reload { [node] = address }
	return cluster.call(node, "@greeter", "greet", "db")
end

skynet.start(function()
	skynet.dispatch("lua", function(_, _, name, ...)
		local f = command[name] or error(("simpledb: no command %q"):format(tostring(name)))
		skynet.retpack(f(...))
	end)
end)
