-- The examples of the database drivers, against servers of the spec's own.

local node = require "node"
local servers = require "servers"

local function run(name, variables)
	local words = { "env" }
	for k, v in pairs(variables) do
		words[#words + 1] = k .. "=" .. v
	end
	words[#words + 1] = "./skynet"
	words[#words + 1] = ("examples/%s/config"):format(name)
	return node.spawn(words)
end

describe("examples of databases", function()
	teardown(function()
		node.stop_all()
		servers.stop_all()
	end)

	it("redis", function()
		local server = servers.redis()
		local n = run("redis", { REDIS_PORT = server.port })
		n:expect "ann has 25"
		n:expect "that didn't work: WRONGTYPE"
		n:expect "heard: ann takes the lead"
		n:expect "heard: the game is over"
		n:expect "1%. ann 25"
		n:expect "2%. bob 20"
		assert.equal(0, n:exit_code())
	end)

	it("redis, without a server", function()
		local n = run("redis", { REDIS_PORT = servers.free_port() })
		n:expect "no Redis at 127.0.0.1:%d+"
		assert.equal(0, n:exit_code())
	end)

	it("mysql", function()
		local server = servers.mariadb()
		local n = run("mysql", { MYSQL_PORT = server.port })
		n:expect "the server is .*MariaDB"
		n:expect "sold a sword for 120"
		n:expect "cook's hat costs 6"
		n:expect "shield costs 80"
		n:expect "refused: Duplicate entry 'shield'.* %(23000%)"
		assert.equal(0, n:exit_code())
	end)
end)
