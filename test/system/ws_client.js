// Talks to a WebSocket server that echoes, with a client of another make, package ws.
// Usage: node ws_client.js URL. Prints a line for each check; the exit code tells the result.
const WebSocket = require("ws")
const url = process.argv[2]
const assert = require("assert")

function open(options, protocols = []) {
	return new Promise((resolve, reject) => {
		const ws = new WebSocket(url, protocols, { rejectUnauthorized: false, ...options })
		ws.inbox = []
		ws.on("message", (data, isBinary) => {
			ws.inbox.push(isBinary ? data : data.toString())
			ws.arrived && ws.arrived()
		})
		ws.closed = new Promise(done => ws.on("close", (code, reason) => done([code, reason.toString()])))
		ws.on("open", () => resolve(ws))
		ws.on("error", reject)
	})
}

async function receive(ws, n) {
	while (ws.inbox.length < n)
		await new Promise(resolve => { ws.arrived = resolve })
	return ws.inbox.splice(0, n)
}

const checks = {
	async sizes() {
		const ws = await open()
		for (const n of [0, 1, 125, 126, 127, 65535, 65536, 262144]) {
			ws.send(Buffer.alloc(n, "a"), { binary: n % 2 === 0 })
			const [got] = await receive(ws, 1)
			assert.strictEqual(got.length, n)
			assert.strictEqual(typeof got === "string", n % 2 === 1)
		}
		ws.close(1000, "done")
		assert.deepStrictEqual(await ws.closed, [1000, ""])
	},
	async fragments() {
		const ws = await open()
		for (let i = 0; i < 100; i++)
			ws.send("part ", { fin: i === 99 })
		assert.strictEqual((await receive(ws, 1))[0], "part ".repeat(100))
		ws.terminate()
	},
	async pings() {
		const ws = await open()
		const pong = new Promise(resolve => ws.on("pong", data => resolve(data.toString())))
		ws.ping("abc")
		assert.strictEqual(await pong, "abc")
		ws.send("ping") // the server pings; ws answers by itself
		assert.strictEqual((await receive(ws, 1))[0], "pong hello")
		ws.close()
		await ws.closed
	},
	async compression() {
		const ws = await open({ perMessageDeflate: true }) // offered, not accepted
		assert.strictEqual(ws.extensions, "")
		ws.send("plain")
		assert.strictEqual((await receive(ws, 1))[0], "plain")
		ws.close()
		await ws.closed
	},
	async violations() {
		for (const [bytes, code] of [["c180", 1002], ["8380", 1002], ["8980", 0], ["81ff7fffffffffffffff", 1009],
			["818100000000ff", 1007], ["888100000000aa", 1002]]) {
			const ws = await open()
			ws._socket.write(Buffer.from(bytes + (code ? "" : "00000000"), "hex"))
			if (code)
				assert.strictEqual((await ws.closed)[0], code, bytes)
			else
				ws.terminate()
		}
	},
	async crowd() {
		const all = await Promise.all(Array.from({ length: 50 }, () => open()))
		await Promise.all(all.map(async (ws, i) => {
			for (let k = 0; k < 20; k++)
				ws.send(`${i} ${k}`)
			const got = await receive(ws, 20)
			got.forEach((text, k) => assert.strictEqual(text, `${i} ${k}`))
			ws.send("close")
			assert.deepStrictEqual(await ws.closed, [4002, "because"])
		}))
	},
}

async function main() {
	for (const [name, check] of Object.entries(checks)) {
		await check()
		console.log(name, "ok")
	}
	console.log("all checks passed")
	process.exit(0)
}

main().catch(error => {
	console.log(error)
	process.exit(1)
})
