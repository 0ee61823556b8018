--- A snax service for specs: no exit function, and two locals of one name.

local n = 0

do
	local twin = 1
	function response.one()
		twin = twin + 1
		return twin
	end
end

do
	local twin = 2
	function response.two()
		twin = twin + 1
		return twin
	end
end

function response.get()
	return n
end

function init(options)
	n = options.start
end
