-- Ends what specs have started, also when one of them failed.
local node = require "node"
require "busted".subscribe({ "suite", "end" }, function()
	node.stop_all()
	return nil, true
end)
