--- A snax_loader: finds snax services by a table of its own.
return function(path, name, env)
	assert(path == "./test/services/?.lua")
	local file = name == "alias" and "./test/services/pingserver.lua"
		or ("./test/services/%s.lua"):format(name)
	return assert(loadfile(file, "bt", env)), "./loaded/?.lua"
end
