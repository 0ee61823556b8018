-- The examples with clients: they run as their headers say, on ports of the system's choice.

local framed = require "framed"
local kit = require "testkit"
local node = require "node"

local function run(command)
	return node.spawn { "sh", "-c", "exec " .. command }
end

describe("examples/login", function()
	local n, login_port, game_port

	setup(function()
		n = run "env LOGIN_PORT=0 GAME_PORT=0 ./skynet examples/login/config"
		local a, b = n:expect "players log in at port (%d+), play at port (%d+)"
		login_port, game_port = tonumber(a), tonumber(b)
	end)

	teardown(function()
		n:kill()
	end)

	local function client(user, password)
		return run(("3rd/lua/lua examples/login/client.lua %d %d %s %s"):format(login_port, game_port,
			user, password))
	end

	it("lets a player in, and carries a repeated request out once", function()
		local c = client("alice", "wonderland")
		assert.equal(0, c:exit_code())
		assert.equal(table.concat({
			"logged in as number 1",
			"earn 10  -> alice has 10",
			"connection lost",
			"connected again",
			"earn 5   -> alice has 15",
			"purse    -> alice has 15",
			"dance    -> (refused)",
			"logout   -> bye",
			"",
		}, "\n"), c.text)
	end)

	it("refuses a wrong password", function()
		local c = client("bob", "wonderland")
		assert.equal(1, c:exit_code())
		assert.equal("refused: 401 Unauthorized\n", c.text)
	end)

	it("serves players while others misbehave", function()
		local hostile = {}
		for i = 1, 50 do
			hostile[i] = assert(kit.connect(i % 2 == 0 and login_port or game_port))
			kit.write(hostile[i], i % 3 == 0 and ("x"):rep(20000) or "\xff\xffhalf", 10)
			n:pump(0)
		end
		local c = client("bob", "builder")
		assert.equal(0, c:exit_code())
		assert.truthy(c.text:find "bob has 15")
		for i = 1, 50 do
			kit.close(hostile[i])
		end
	end)
end)

describe("examples/gate", function()
	local n, port

	setup(function()
		n = run "env GATE_PORT=0 ./skynet examples/gate/config"
		port = tonumber((n:expect "the gate listens at 127%.0%.0%.1:(%d+)"))
	end)

	teardown(function()
		n:kill()
	end)

	it("serves its client program", function()
		local c = run(("3rd/lua/lua examples/gate/client.lua %d 'echo hi there' time nonsense quit"):format(port))
		assert.equal(0, c:exit_code())
		assert.truthy(c.text:find "^welcome\nhi there\n%d+%-%d+%-%d+\nwhat%?\nbye\n$")
		n:expect "client %d+ has gone"
	end)

	it("ends a client's agent when the client goes", function()
		local c = framed.connect(port)
		assert.equal("welcome", c:receive())
		assert.equal("x", c:ask "echo x")
		local agent
		for a in n.text:gmatch "%[:(%x+)%] LAUNCH snlua agent" do
			agent = a
		end
		c:close()
		n:expect(("%%[:%s%%] KILL self"):format(agent))
	end)
end)
