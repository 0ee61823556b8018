--- A snax file whose definitions are wrong in the way the environment variable says.

local how = SNAX_BAD -- luacheck: ignore

if how == "name" then
	accept[1] = function() end
elseif how == "value" then
	response.x = 5
elseif how == "twice" then
	function accept.x() end
	function accept.x() end
elseif how == "system" then
	init = 5 -- luacheck: ignore
elseif how == "run" then
	error "the file raises"
end
