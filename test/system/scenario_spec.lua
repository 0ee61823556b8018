-- The cluster's acceptance scenario: two nodes, names, proxies, large values, snax objects.

local kit = require "testkit"
local node = require "node"

local function free_port()
	local fd, port = kit.listen()
	kit.close(fd)
	return port
end

local function config(options)
	options.snax = "./test/services/?.lua"
	return options
end

describe("two nodes of a cluster", function()
	it("share a store, a proxy and a snax service", function()
		local one, two = free_port(), free_port()
		local server = node.start(config { start = ("scenario server %d %d"):format(one, two) })
		server:expect "server is ready"
		server:expect "open\tdb\tnil\n"
		server:expect "open\tdb2\tnil\n"
		server:expect "%[pingserver:%x+%]"
		local names = node.file("names.lua", ('__nowaiting = true\ndb = "127.0.0.1:%d"\n'
			.. 'db2 = "127.0.0.1:%d"\n'):format(one, two))
		local client = node.start(config { start = "scenario client " .. two, cluster = names })
		client:expect "client is done"
		client:expect "large\ttrue\n"
		client:expect "ping\tproxy\n"
		client:expect "\nfoobar\n"
		client:expect "\nfoobar2\n"
		server:expect("pushed\t" .. (120 << 10))
		client:expect "absent\tfalse\t[^\n]*dest address type %(nil%)"
		client:expect "down\tfalse\t[^\n]*call failed\n"
		client:expect "snax\thello\n"
		client:expect "remote error\tfalse\t[^\n]*call failed\n"
		client:expect "post\tkept\n"
		client:expect "same\ttrue\n"
		client:expect "closed service\tfalse\t[^\n]*call failed\n"
		client:kill()
		server:kill()
	end)
end)
