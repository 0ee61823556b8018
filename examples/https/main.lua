--- https: the server is told the protocol, the client by its URL. Certificate and key come from
--- the config.
local skynet = require "skynet"
local socket = require "skynet.socket"
local httpc = require "http.httpc"
local httpd = require "http.httpd"

local function handle(request)
	return 200, ("%s %s over TLS\n"):format(request.method, request.path)
end

-- A wrong certificate raises, so this raises, too.
local function ask(host)
	local status, body = httpc.request("GET", host, "/secret", nil, nil, nil, 500)
	skynet.error(("GET %s/secret: %d %s"):format(host, status, body:gsub("\n", "")))
end

skynet.start(function()
	local id, address, port = socket.listen("127.0.0.1", tonumber(skynet.getenv "port") or 8443)
	socket.start(id, function(client, from)
		skynet.fork(function()
			local ok, err = httpd.serve(client, handle, { protocol = "https", address = from })
			if not ok then
				skynet.error("connection of", from, "ended:", err)
			end
		end)
	end)
	skynet.error(("https listens on %s:%d"):format(address, port))
	ask(("https://localhost:%d"):format(port))
	ask(("https://127.0.0.1:%d"):format(port))
	skynet.error "the client is done"
end)
