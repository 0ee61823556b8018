--- A snax service for cluster specs.

local snax = require "skynet.snax"

local last

function response.ping(text)
	return text
end

function response.boom()
	error "boom in pingserver"
end

function response.last()
	return last
end

function accept.keep(text)
	last = text
end

function init(cluster)
	if cluster then
		snax.enablecluster()
	end
end
