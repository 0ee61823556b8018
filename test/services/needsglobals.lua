--- A snax service whose file can't be read in an empty environment.
local known = require("skynet.snax").known or snax
local text = tostring(FROM_MODULE)

function response.text()
	return text, known
end
