local node = require "node"

describe("under stress", function()
	for _, threads in ipairs { 1, 2, 8 } do
		it(("no message is lost or doubled, with %d workers"):format(threads), function()
			local seed = tonumber(os.getenv "SEED") or os.time()
			print("# SEED=" .. seed)
			local n = node.start {
				thread = threads,
				logger = node.file "log",
				bootstrap = ("stress director %d %d"):format(seed, 200000),
			}
			local verdict, counts = n:expect "stress (%a+): ([^\n]+)\n"
			assert.equal("ok", verdict, counts)
			assert.equal(0, n:exit_code())
		end)
	end
end)
