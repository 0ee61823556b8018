--- skynet.send: one to one, eight to one, one to a thousand; and a ring of a thousand services.
-- workers: 2
local skynet = require "skynet"
local bench = require "bench"
local mode, arg = ...

if mode == "sink" then
	skynet.start(function()
		local count = 0
		skynet.dispatch("lua", function(_, _, cmd)
			if cmd == "count" then
				skynet.ret(skynet.pack(count))
			else
				count = count + 1
			end
		end)
	end)
	return
elseif mode == "source" then
	skynet.start(function()
		skynet.dispatch("lua", function(_, _, to, n)
			for _ = 1, n do
				skynet.send(to, "lua", "x", 1)
			end
			skynet.ret(skynet.pack(skynet.call(to, "lua", "count")))
		end)
	end)
	return
elseif mode == "ring" then
	skynet.start(function()
		local next_one
		local owner = tonumber(arg)
		skynet.dispatch("lua", function(_, _, cmd, v)
			if cmd == "hop" then
				if v == 0 then
					skynet.send(owner, "lua", "done")
				else
					skynet.send(next_one, "lua", "hop", v - 1)
				end
			else
				next_one = v
				skynet.ret(skynet.pack(true))
			end
		end)
	end)
	return
end

local function fan_in(sources, n)
	local sink = skynet.newservice(SERVICE_NAME, "sink")
	local from = {}
	for i = 1, sources do
		from[i] = skynet.newservice(SERVICE_NAME, "source")
	end
	bench.rate(sources == 1 and "send, one to one" or "send, eight to one", n * sources,
		function()
			bench.parallel(sources, function(i)
				skynet.call(from[i], "lua", sink, n)
			end)
			while skynet.call(sink, "lua", "count") < n * sources do
				skynet.sleep(0)
			end
		end)
end

local function fan_out(n)
	local sinks = {}
	for i = 1, 1000 do
		sinks[i] = skynet.newservice(SERVICE_NAME, "sink")
	end
	bench.rate("send, one to 1000", n * 1000, function()
		for _ = 1, n do
			for i = 1, 1000 do
				skynet.send(sinks[i], "lua", "x", 1)
			end
		end
		for i = 1, 1000 do
			skynet.call(sinks[i], "lua", "count")
		end
	end)
end

local function ring(hops)
	local nodes, main = {}, coroutine.running()
	for i = 1, 1000 do
		nodes[i] = skynet.newservice(SERVICE_NAME, "ring", skynet.self())
	end
	for i = 1, 1000 do
		skynet.call(nodes[i], "lua", "next", nodes[i % 1000 + 1])
	end
	skynet.dispatch("lua", function()
		skynet.wakeup(main)
	end)
	bench.rate("ring of 1000, hops", hops, function()
		skynet.send(nodes[1], "lua", "hop", hops)
		skynet.wait(main)
	end)
end

bench.main(function()
	fan_in(1, bench.scale(500000))
	fan_in(8, bench.scale(60000))
	fan_out(bench.scale(300))
	ring(bench.scale(400000))
end)
