// Servers of another make, for our clients: HTTP by node, WebSockets by package ws.
// Usage: node web_server.js [CERT KEY]. Prints the port.
const fs = require("fs")
const WebSocket = require("ws")
const [cert, key] = process.argv.slice(2)
let connections = 0

function answer(request, response) {
	if (request.url === "/connections") {
		response.end(String(connections))
	} else if (request.url === "/chunks") {
		response.setHeader("Trailer", "X-Sum")
		for (let i = 0; i < 100; i++)
			response.write("chunk " + i + "\n")
		response.addTrailers({ "X-Sum": "100" })
		response.end()
	} else if (request.url === "/empty") {
		response.writeHead(204).end()
	} else if (request.url === "/hints") {
		response.writeEarlyHints({ link: "</style.css>; rel=preload" })
		response.end("final")
	} else {
		response.setHeader("Set-Cookie", ["a=1", "b=2"])
		request.pipe(response)
	}
}

const server = cert
	? require("https").createServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) }, answer)
	: require("http").createServer(answer)
server.on(cert ? "secureConnection" : "connection", () => connections++)

const sockets = new WebSocket.Server({ server, maxPayload: 1 << 20, perMessageDeflate: true })
sockets.on("connection", ws => {
	ws.on("message", (data, isBinary) => {
		if (data.toString() === "close")
			ws.close(4003, "asked to")
		else if (data.toString() === "fragments")
			for (let i = 0; i < 100; i++)
				ws.send("part ", { fin: i === 99 })
		else
			ws.send(data, { binary: isBinary })
	})
	ws.on("ping", data => ws.send("pinged " + data))
	ws.on("error", error => console.log("ws error", error.message))
})
server.listen(0, "127.0.0.1", () => console.log("listens on " + server.address().port))
