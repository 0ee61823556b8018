--- A multicast to 1,000 services.
local skynet = require "skynet"
local multicast = require "skynet.multicast"
local bench = require "bench"

if (...) == "subscriber" then
	local channel, main, last
	local got = 0

	skynet.start(function()
		skynet.dispatch("lua", function(_, source, id, n)
			main, last = source, n
			channel = channel or multicast.new {
				channel = id,
				dispatch = function()
					got = got + 1
					if got == last then
						skynet.send(main, "lua", "done")
					end
				end,
			}
			channel:subscribe()
			skynet.ret()
		end)
	end)
	return
end

bench.main(function()
	local subscribers = bench.scale(1000)
	local n = bench.scale(200)
	local channel = multicast.new()
	local done, co = 0, coroutine.running()
	skynet.dispatch("lua", function()
		done = done + 1
		if done == subscribers then
			skynet.wakeup(co)
		end
	end)
	bench.parallel(subscribers, function()
		local s = skynet.newservice(SERVICE_NAME, "subscriber")
		skynet.call(s, "lua", channel.channel, n)
	end)
	local publishing
	bench.rate("multicast delivery", subscribers * n, function()
		local begin = skynet.hpc()
		for i = 1, n do
			channel:publish("news", i)
		end
		publishing = skynet.hpc() - begin
		if done < subscribers then
			skynet.wait(co)
		end
	end)
	bench.report("publish to " .. subscribers, publishing / n / 1000, "us")
end)
