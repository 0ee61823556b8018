--- Found by the snax service of the folder's name only.
local helper = {}

function helper.text()
	return "helper"
end

return helper
