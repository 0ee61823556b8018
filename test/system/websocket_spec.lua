-- WebSockets with a client of another make (node's ws), and the chat example with a browser.

local browser = require "browser"
local certs = require "certs"
local node = require "node"

local here = assert(io.popen "pwd"):read "l"

local function node_ws(url)
	local n = node.spawn { "env", "NODE_PATH=/usr/share/nodejs", "node", "test/system/ws_client.js", url }
	n:expect "all checks passed"
	assert.equal(0, n:exit_code())
end

describe("websocket.accept", function()
	it("talks with node's ws, by ws and wss", function()
		local dir = certs.make(node.file "certs", "localhost")
		local server = node.start {
			start = "webserver", enablessl = true,
			certfile = dir .. "/localhost.pem", keyfile = dir .. "/localhost.key",
		}
		server:expect "webserver is up"
		node_ws("ws://127.0.0.1:" .. server:expect "ws listens on (%d+)")
		node_ws(("ws://127.0.0.1:%s/ws"):format(server:expect "http listens on (%d+)"))
		node_ws("wss://127.0.0.1:" .. server:expect "wss listens on (%d+)")
		server:signal(15)
		assert.equal(0, server:exit_code())
	end)
end)

describe("the chat example", function()
	it("joins a browser and another client", function()
		local n = node.start_text(('include "%s/examples/websocket/config"\nport = 0\n'):format(here))
		local port = n:expect "chat listens on 127.0.0.1:(%d+)"
		local close = browser.open(("http://127.0.0.1:%s/#browser"):format(port))
		n:expect "chat: browser joined"
		local other = node.spawn { "env", "NODE_PATH=/usr/share/nodejs", "node", "-e", ([[
			const ws = new (require("ws"))("ws://127.0.0.1:%s/chat")
			ws.on("open", () => { ws.send("other"); ws.send("hello all") })
			ws.on("message", data => console.log(data.toString()))
		]]):format(port) }
		other:expect "other: hello all"
		n:expect "chat: other: hello all"
		close()
		other:expect "browser left"
		other:kill()
		n:expect "chat: other left"
		n:signal(15)
		assert.equal(0, n:exit_code())
	end)
end)

