--- How long a message to a sleeping service waits while its sender stays busy; and, beside it, what the
--- system takes to hand over between two threads in the same way.
-- workers: 2
local skynet = require "skynet"
local bench = require "bench"

if (...) == "peer" then
	skynet.start(function()
		local samples = {}
		skynet.dispatch("lua", function(_, _, sent)
			local now = skynet.hpc()
			if sent then
				samples[#samples + 1] = (now - sent) / 1e3
			else
				skynet.ret(skynet.pack(samples))
			end
		end)
	end)
	return
end

local function busy(us)
	local till = skynet.hpc() + us * 1000
	while skynet.hpc() < till do
		for _ = 1, 100 do end
	end
end

bench.main(function()
	local peer = skynet.newservice(SERVICE_NAME, "peer")
	for _ = 1, bench.scale(500) do
		skynet.sleep(1)
		skynet.send(peer, "lua", skynet.hpc())
		busy(4000)
	end
	bench.spread("wake-up of an idle worker", skynet.call(peer, "lua"), "us")

	local bare = {}
	local pipe = assert(io.popen(skynet.getenv "bench_dir" .. "/lib/handoff " .. bench.scale(500)))
	for line in pipe:lines() do
		bare[#bare + 1] = tonumber(line)
	end
	assert(pipe:close())
	bench.spread("wake-up of a bare thread", bare, "us")
end)
