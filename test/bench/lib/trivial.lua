--- A service that does nothing: what starting one costs.
local skynet = require "skynet"

skynet.start(function() end)
