--- An agent of the web server: routes requests to functions. httpd.serve reads one request after
--- another from a connection, keeps it alive, limits sizes and times, and writes the answers.
local skynet = require "skynet"
local httpd = require "http.httpd"
local url = require "http.url"

local ROOT = "examples/http/www"
local TYPES = { html = "text/html; charset=utf-8", js = "text/javascript" }

local answered = 0
local routes = {}

-- Only names without folders: nobody walks out of ROOT.
local function static(name)
	local extension = name:match "^[%w_-]+%.(%w+)$"
	local file = TYPES[extension] and io.open(ROOT .. "/" .. name, "rb")
	if not file then
		return 404, "no such page\n"
	end
	local content = file:read "a"
	file:close()
	return 200, content, { ["content-type"] = TYPES[extension] }
end

routes["GET /"] = function()
	return static "index.html"
end

routes["GET /hello"] = function(request)
	local name = url.parse_query(request.query).name or "nobody"
	return 200, ("Hello, %s at %s!\n"):format(name, request.address)
end

routes["POST /echo"] = function(request)
	return 200, request.body, { ["content-type"] = request.header["content-type"] }
end

-- A body that comes piece by piece: a function gives the pieces, and may wait between them.
routes["GET /stream"] = function()
	local n = 0
	return 200, function()
		n = n + 1
		if n <= 5 then
			skynet.sleep(10)
			return ("line %d\n"):format(n)
		end
	end, { ["content-type"] = "text/plain" }
end

local function handle(request)
	answered = answered + 1
	local route = routes[request.method .. " " .. request.path]
	if route then
		return route(request)
	elseif request.method == "GET" then
		return static(request.path:sub(2))
	end
	return 405, "only GET here\n"
end

skynet.start(function()
	skynet.dispatch("lua", function(_, _, id, from)
		local ok, err = httpd.serve(id, handle, { address = from })
		if not ok then
			skynet.error("connection of", from, "ended:", err)
		end
	end)
	skynet.info_func(function()
		return { answered = answered }
	end)
end)
