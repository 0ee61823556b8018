-- The sproto example with its client, clients that lie, and the modules in the plain interpreter.

local framed = require "framed"
local node = require "node"

local function run(command)
	return node.spawn { "sh", "-c", "exec " .. command }
end

describe("examples/sproto", function()
	local n, port

	setup(function()
		n = run "env SPROTO_PORT=0 ./skynet examples/sproto/config"
		port = tonumber((n:expect "sproto listens at 127%.0%.0%.1:(%d+)"))
	end)

	teardown(function()
		n:kill()
	end)

	local function serves(name)
		local c = run(("3rd/lua/lua examples/sproto/client.lua %d %s"):format(port, name))
		assert.equal(0, c:exit_code(), c.text)
		assert.equal(table.concat({
			("notice: %s has come"):format(name),
			("welcome, %s\tnil"):format(name),
			("notice: %s has come"):format(name),
			("welcome, %s\t6"):format(name),
			"total\t42.0",
			"bye",
			"",
		}, "\n"), c.text)
	end

	it("serves its client program", function()
		serves "alice"
	end)

	it("throws out clients that send nonsense, and serves the others", function()
		for text, message in pairs {
			["Invalid unpack stream"] = "\xff", ["decode error"] = "\xff\0" .. ("\xff"):rep(8),
			["99 not found"] = "\x15\2\xc8\2", ["too large"] = ("\0"):rep(10000),
			["Unknown session"] = "\x15\2\1\4",
		} do
			local c = framed.connect(port)
			c:raw(string.pack(">s2", message))
			n:expect("thrown out: .-" .. text)
			c:close()
		end
		serves "bob"
	end)
end)

describe("in the plain interpreter", function()
	it("sproto and bson need nothing of the runtime", function()
		local c = run [[3rd/lua/lua -e '
			package.path, package.cpath = "./lualib/?.lua", "./luaclib/?.so"
			local sproto, bson = require "sproto", require "bson"
			local core = require "sproto.core"
			require "sprotoloader".save(require "sprotoparser".parse ".A { x 0 : integer }", 3)
			local sp = require "sprotoloader".load(3)
			assert(sp:decode("A", sp:encode("A", { x = 5 })).x == 5)
			assert(core.loadproto(3) == sp.__cobj)
			assert(bson.encode({ a = 1 }):decode().a == 1)
			for name in pairs(package.loaded) do assert(not name:find "^skynet", name) end
			print "fine"']]
		assert.equal(0, c:exit_code(), c.text)
		assert.equal("fine\n", c.text)
	end)
end)
