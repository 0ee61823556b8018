--- Uses snax services of a node with a configuration of its own.
local skynet = require "skynet"
local snax = require "skynet.snax"

local what = ...

skynet.start(function()
	if what == "loader" then
		local obj = snax.newservice "alias"
		print("alias", obj.req.ping "x", obj.type)
	elseif what == "globals" then
		print("globals", snax.newservice("needsglobals").req.text())
	else
		print("none", pcall(snax.newservice, "pingserver"))
	end
	io.stdout:flush()
end)
