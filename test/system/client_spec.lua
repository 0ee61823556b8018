-- Modules for client programs: in the plain interpreter, without the runtime. (This spec itself
-- runs there.)

local kit = require "testkit"
local node = require "node"

package.path = "./lualib/?.lua;" .. package.path

describe("client.crypt", function()
	require "cryptcases"(require "client.crypt", it)
end)

describe("md5", function()
	require "md5cases"(require "md5", it)
end)

describe("lpeg", function()
	it("loads", function()
		assert.equal("LPeg 1.1.0", require "lpeg".version)
	end)
end)

describe("client.socket", function()
	local socket = require "client.socket"

	-- recv until something comes
	local function receive(fd)
		return node.eventually(function()
			return socket.recv(fd)
		end)
	end

	it("has its old name, too", function()
		assert.equal("function", type(require "clientsocket".connect))
	end)

	it("connects, sends, receives without waiting, and sees the end", function()
		local listener, port = kit.listen()
		local fd = socket.connect("127.0.0.1", port)
		local peer = kit.accept(listener, 20)
		assert.is_nil(socket.recv(fd))
		socket.send(fd, "ping")
		assert.equal("ping", kit.read(peer, 20))
		kit.write(peer, ("x"):rep(5000), 20)
		local got = ""
		while #got < 5000 do
			local part = receive(fd)
			assert.is_true(#part <= 4096)
			got = got .. part
		end
		kit.close(peer)
		assert.equal("", receive(fd))
		socket.close(fd)
		kit.close(listener)
	end)

	it("sends more than fits into the kernel", function()
		local listener, port = kit.listen()
		local reader = node.spawn { "3rd/lua/lua", "-e", ([[
			local s = require "client.socket"
			local fd = s.connect("127.0.0.1", %d)
			local n = 0
			while n < 20000000 do
				local part = s.recv(fd)
				if part then n = n + #part else s.usleep(100) end
			end
			print("got", n)
		]]):format(port) }
		local peer = kit.accept(listener, 20)
		socket.send(peer, ("y"):rep(20000000))
		reader:expect "got%s+20000000"
		reader:kill()
		kit.close(peer)
		kit.close(listener)
	end)

	it("says what fails", function()
		local listener, port = kit.listen()
		kit.close(listener)
		assert.error_matches(function() socket.connect("127.0.0.1", port) end,
			"Connect 127.0.0.1 " .. port .. " failed")
		assert.error_matches(function() socket.connect("nonsense", 80) end, "Connect nonsense 80 failed")
		assert.error_matches(function() socket.connect("127.0.0.1", 70000) end,
			"Connect 127.0.0.1 70000 failed")
		assert.error_matches(function() socket.send(-1, "x") end, "socket error: ")
		assert.error_matches(function() socket.recv(-1) end, "socket error: ")
		assert.error_matches(function() socket.shutdown(1, "x") end, "Invalid mode x")
		assert.error_matches(function() socket.shutdown(1, "") end, "mode should be r or/and w")
	end)

	it("shuts one direction down", function()
		local listener, port = kit.listen()
		local p = node.spawn { "3rd/lua/lua", "-e", ([[
			local s = require "client.socket"
			local fd = s.connect("127.0.0.1", %d)
			s.shutdown(fd, "w")
			s.usleep(100000000)
		]]):format(port) }
		local peer = kit.accept(listener, 20)
		assert.equal("", kit.read(peer, 20))
		p:expect "SHUTDOWN %d+ 1\n"
		p:kill()
		kit.close(peer)
		kit.close(listener)
	end)

	it("reads lines of standard input, every one before the end, then ends with 1", function()
		local p = node.spawn { "3rd/lua/lua", "-e", [[
			local s = require "client.socket"
			io.stdout:setvbuf "line"
			while true do
				local line = s.readstdin()
				if line then print("<" .. line .. ">") else s.usleep(1000) end
			end
		]] }
		kit.write(p.input, "one\n", 10)
		p:expect "<one>"
		local many = {}
		for i = 1, 3000 do
			many[i] = "line " .. i .. "\n"
		end
		kit.write(p.input, table.concat(many), 30)
		kit.write(p.input, ("z"):rep(1500) .. "\nlast", 10)
		kit.close(p.input)
		assert.equal(1, p:exit_code())
		assert.truthy(p.text:find("<line 3000>\n<" .. ("z"):rep(1022) .. ">\n<" .. ("z"):rep(478) .. ">\n<last>"))
	end)

	it("lets a program that reads no lines live on without standard input", function()
		local p = node.spawn { "sh", "-c", [[
			exec 3rd/lua/lua -e 'require "client.socket".usleep(300000) print "still here"' </dev/null
		]] }
		assert.equal(0, p:exit_code())
		assert.truthy(p.text:find "still here")
	end)
end)
