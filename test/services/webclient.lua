--- Talks to test/system/web_server.js: `webclient SCHEME PORT`, SCHEME is "" or "s".
local skynet = require "skynet"
local httpc = require "http.httpc"
local websocket = require "http.websocket"
require "skynet.manager"

local port, secure = ...
local host = ("http%s://localhost:%s"):format(secure or "", port)

local function check_http()
	httpc.timeout = 3000
	httpc.keepalive = 1000
	for i = 0, 20 do
		local body = ("x"):rep(i * 5000)
		local header = {}
		local status, echo = httpc.request("POST", host, "/", header, nil, body)
		assert(status == 200 and echo == body)
		assert(header["set-cookie"][2] == "b=2")
	end
	local pieces, last = 0, nil
	for piece, stream in httpc.request_stream("GET", host, "/chunks") do
		pieces = pieces + 1
		last = stream
		assert(pieces > 100 or piece:find "^chunk")
	end
	assert(pieces >= 2 and last.header["x-sum"] == "100")
	assert(httpc.get(host, "/empty") == 204)
	assert(select(2, httpc.get(host, "/hints")) == "final")
	assert(httpc.head(host, "/") == 200)
	assert(select(2, httpc.get(host, "/connections")) == "1", "connections were not kept")
end

local function check_websocket()
	local id = websocket.connect(("ws%s://localhost:%s/"):format(secure or "", port), nil, 3000)
	for _, n in ipairs { 0, 1, 125, 126, 65535, 65536, 500000 } do
		local data = ("y"):rep(n)
		websocket.write(id, data, n % 2 == 0 and "binary" or "text")
		assert(websocket.read(id, 3000) == data)
	end
	websocket.write(id, "fragments")
	assert(websocket.read(id, 3000) == ("part "):rep(100))
	websocket.ping(id, "hello")
	assert(websocket.read(id, 3000) == "pinged hello")
	websocket.write(id, "close")
	local ok, payload = websocket.read(id, 3000)
	assert(ok == false and payload == string.pack(">I2", 4003) .. "asked to")
	id = websocket.connect(("ws%s://localhost:%s/"):format(secure or "", port), nil, 3000)
	websocket.write(id, ("z"):rep(2 << 20)) -- more than the server takes
	ok, payload = websocket.read(id, 3000)
	assert(ok == false and string.unpack(">I2", payload) == 1009)
end

skynet.start(function()
	check_http()
	check_websocket()
	skynet.error "all checks passed"
	skynet.timeout(0, skynet.abort)
end)
