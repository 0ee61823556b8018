--- Builds a sheet of monsters, starts a reader, and publishes a new version.
local skynet = require "skynet"
local builder = require "skynet.datasheet.builder"
require "skynet.manager"

skynet.start(function()
	builder.new("monsters", {
		wolf = { hp = 30, drops = { "fur", "meat" } },
		bear = { hp = 80, drops = { "fur" } },
	})
	local reader = skynet.newservice "reader"
	print(skynet.call(reader, "lua", "describe", "wolf"))

	-- compile can run anywhere, also before the node starts: the document is one string
	local document = builder.compile {
		wolf = { hp = 35, drops = { "fur", "meat", "tooth" } },
		bear = { hp = 80, drops = { "fur" } },
	}
	builder.update("monsters", document)
	skynet.call(reader, "lua", "wait_for_hp", "wolf", 35)
	print(skynet.call(reader, "lua", "describe", "wolf"))
	skynet.abort()
end)
