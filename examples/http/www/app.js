// Asks the server for three things, and shows the answers.
const show = (id, text) => { document.getElementById(id).textContent = text }

async function stream() {
	const reader = (await fetch("/stream")).body.getReader()
	const decoder = new TextDecoder()
	let text = ""
	for (;;) {
		const { done, value } = await reader.read()
		if (done)
			return text
		text += decoder.decode(value, { stream: true })
		show("stream", text)
	}
}

async function main() {
	show("hello", await (await fetch("/hello?name=the%20page")).text())
	const body = "x".repeat(100000)
	const answer = await (await fetch("/echo", { method: "POST", body })).text()
	show("echo", answer === body ? "the echo is right" : "the echo is wrong")
	await stream()
}

main().catch(error => show("hello", String(error)))
