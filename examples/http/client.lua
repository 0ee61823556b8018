--- Calls to the web server: plain ones, one with a time limit, and a stream.
local skynet = require "skynet"
local httpc = require "http.httpc"

local port = ...
local host = "127.0.0.1:" .. port

skynet.start(function()
	httpc.timeout = 500 -- centiseconds, for every call
	httpc.keepalive = 1000 -- calls to one host share a connection

	local header = {}
	local status, body = httpc.get(host, "/hello?name=client", header)
	skynet.error(("GET /hello: %d %s"):format(status, body:gsub("\n", "")))

	status, body = httpc.request("POST", host, "/echo", nil, { ["content-type"] = "text/plain" }, "said twice")
	skynet.error(("POST /echo: %d %s"):format(status, body))

	local lines = 0
	for piece in httpc.request_stream("GET", host, "/stream") do
		lines = lines + select(2, piece:gsub("\n", ""))
	end
	skynet.error(("GET /stream: %d lines"):format(lines))

	local ok, err = pcall(httpc.get, "127.0.0.1:1", "/")
	skynet.error(("GET of nobody: %s %s"):format(ok, err))
	skynet.error "the client is done"
	skynet.exit()
end)
