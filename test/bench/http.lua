--- HTTP requests answered with a few bytes: connections kept, and a new one for each request.
--- Needs the program wrk.
-- workers: 3
local skynet = require "skynet"
local bench = require "bench"
local load = require "load"
local httpd = require "http.httpd"
local socket = require "skynet.socket"
local sockethelper = require "http.sockethelper"

if (...) == "server" then
	local header = { ["content-type"] = "text/plain" }
	load.server(function(id)
		socket.start(id)
		local read, write = sockethelper.readfunc(id), sockethelper.writefunc(id)
		while true do
			local code, _, _, request = httpd.read_request(read, 8192)
			if code ~= 200 or not httpd.write_response(write, 200, "hello", header) then
				break
			elseif request.connection == "close" then
				break
			end
		end
		socket.close(id)
	end)
	return
end

local UNIT = { us = 1, ms = 1e3, s = 1e6 }

local function latency(output, which)
	local value, unit = output:match("%s" .. which .. "%%%s+([%d.]+)(%a+)")
	return value and tonumber(value) * UNIT[unit]
end

local function parse(output)
	return tonumber(output:match "(%d+) requests in"), latency(output, "50"), latency(output, "99")
end

bench.main(function()
	local port = skynet.call(skynet.newservice(SERVICE_NAME, "server"), "lua")
	local seconds = math.max(1, bench.scale(3))
	local function run(metric, connections, more)
		load.run(metric, ("wrk -t1 -c%d -d%ds --latency %s http://127.0.0.1:%d/"):format(connections,
			seconds, more or "", port), parse, seconds)
	end
	run("http keep-alive, 1 connection", 1)
	run("http keep-alive, 64 connections", 64)
	run("http keep-alive, 100 connections", 100)
	run("http close, 64 connections", 64, "-H 'Connection: close'")
end)
