-- Channels against a server of the spec's own: both modes, loss, auth, backup, closing.

local eventually = require "eventually"
local skynet = require "skynet"
local socket = require "skynet.socket"
local socketchannel = require "skynet.socketchannel"

-- A server that runs serve(id) for each connection; returns its port and how to stop it.
local function server(serve)
	local clients = {}
	local id, _, port = socket.listen("127.0.0.1", 0)
	socket.start(id, function(client)
		skynet.fork(function()
			socket.start(client)
			clients[client] = true
			pcall(serve, client)
			clients[client] = nil
			socket.close(client)
		end)
	end)
	return port, function()
		socket.close(id)
		for client in pairs(clients) do
			socket.shutdown(client)
		end
	end, clients
end

local function lines(answer)
	return function(id)
		for line in function() return socket.readline(id) or nil end do
			answer(id, line)
		end
	end
end

local echo = lines(function(id, line)
	socket.write(id, line .. "\n")
end)

local function read_line(sock)
	return true, sock:readline()
end

describe("socketchannel, order mode", function()
	it("matches answers with requests, in order", function()
		local port, stop = server(echo)
		local c = socketchannel.channel { host = "127.0.0.1", port = port }
		assert.equal("one", c:request("one\n", read_line))
		local got, left = {}, 50
		for i = 1, 50 do
			skynet.fork(function()
				got[i] = c:request(i .. "\n", read_line)
				left = left - 1
			end)
		end
		eventually(function() return left == 0 end)
		for i = 1, 50 do
			assert.equal(tostring(i), got[i])
		end
		c:close()
		stop()
	end)

	it("collects an answer in parts, and raises what an answer says", function()
		local port, stop = server(echo)
		local c = socketchannel.channel { host = "127.0.0.1:" .. port }
		local n = 0
		assert.same({ "a", "b", "c" }, c:request("a\nb\nc\n", function(sock)
			n = n + 1
			return true, sock:readline(), n < 3
		end))
		local ok, err = pcall(c.request, c, "bad\n", function(sock)
			return false, "refused: " .. sock:readline()
		end)
		assert.is_false(ok)
		assert.equal("refused: bad", err)
		assert.equal("still there", c:request("still there\n", read_line))
		c:close()
		stop()
	end)

	it("sends without waiting when there's no response function", function()
		local seen
		local port, stop = server(lines(function(_, line)
			seen = line
		end))
		local c = socketchannel.channel { host = "127.0.0.1", port = port }
		assert.equal(0, select("#", c:request "fire and forget\n"))
		eventually(function() return seen == "fire and forget" end)
		c:close()
		stop()
	end)

	it("takes padding", function()
		local port, stop = server(echo)
		local c = socketchannel.channel { host = "127.0.0.1", port = port }
		assert.equal("abc", c:request("a", read_line, { "b", "c\n" }))
		c:close()
		stop()
	end)

	it("fails every pending request when the connection is lost, and connects again", function()
		local mute = true
		local port, stop, clients = server(lines(function(id, line)
			if not mute then
				socket.write(id, line .. "\n")
			end
		end))
		local c = socketchannel.channel { host = "127.0.0.1", port = port }
		local failed = 0
		for _ = 1, 10 do
			skynet.fork(function()
				local ok, err = pcall(c.request, c, "x\n", read_line)
				if not ok and (err == socketchannel.error or err == "channel_closed") then
					failed = failed + 1
				end
			end)
		end
		eventually(function() return next(clients) end)
		skynet.sleep(5)
		socket.shutdown((next(clients)))
		eventually(function() return failed == 10 end)
		mute = false
		assert.equal("again", c:request("again\n", read_line))
		c:close()
		stop()
	end)

	it("closes the connection when a response function raises", function()
		local port, stop = server(echo)
		local c = socketchannel.channel { host = "127.0.0.1", port = port }
		local ok, err = pcall(c.request, c, "x\n", function()
			error "can't parse this"
		end)
		assert.is_false(ok)
		assert.truthy(err:find "can't parse this")
		assert.equal("y", c:request("y\n", read_line))
		c:close()
		stop()
	end)

	it("raises the socket error when nobody listens", function()
		local port, stop = server(echo)
		stop()
		skynet.sleep(2)
		local c = socketchannel.channel { host = "127.0.0.1", port = port }
		local results = {}
		for i = 1, 3 do
			skynet.fork(function()
				results[i] = table.pack(pcall(c.request, c, "x\n", read_line))
			end)
		end
		eventually(function() return results[1] and results[2] and results[3] end)
		for i = 1, 3 do
			assert.is_false(results[i][1])
			assert.equal(socketchannel.error, results[i][2])
		end
		assert.equal("[Error: socket]", tostring(socketchannel.error))
		c:close()
	end)

	it("fails what's pending when it's closed, and reopens by connect", function()
		local port, stop = server(lines(function(id, line)
			if line ~= "mute" then
				socket.write(id, line .. "\n")
			end
		end))
		local c = socketchannel.channel { host = "127.0.0.1", port = port }
		local result
		skynet.fork(function()
			result = table.pack(pcall(c.request, c, "mute\n", read_line))
		end)
		skynet.sleep(5)
		c:close()
		eventually(function() return result end)
		assert.is_false(result[1])
		local ok, err = pcall(c.request, c, "x\n", read_line)
		assert.is_false(ok)
		assert.truthy(err:find "assertion failed!")
		assert.is_true(c:connect(true))
		assert.equal("x", c:request("x\n", read_line))
		c:close()
		stop()
	end)
end)

describe("socketchannel, session mode", function()
	-- "<session> <text>"; answers may come in any order
	local function response(sock)
		local session, text = sock:readline():match "^(%d+) (.*)$"
		return tonumber(session), text ~= "fail", text, text == "part"
	end

	it("matches answers by session, in any order", function()
		local held = {}
		local port, stop = server(lines(function(id, line)
			held[#held + 1] = line
			if #held == 3 then
				for i = 3, 1, -1 do
					socket.write(id, held[i] .. "\n")
				end
			end
		end))
		local c = socketchannel.channel { host = "127.0.0.1", port = port, response = response }
		local got = {}
		for i = 1, 3 do
			skynet.fork(function()
				got[i] = c:request(i .. " text" .. i .. "\n", i)
			end)
		end
		eventually(function() return got[1] and got[2] and got[3] end)
		assert.same({ "text1", "text2", "text3" }, got)
		c:close()
		stop()
	end)

	it("raises failures, collects parts, ignores unknown sessions", function()
		local port, stop = server(lines(function(id, line)
			local n = line:match "^%d+"
			if line:find "parts" then
				socket.write(id, n .. " part\n" .. n .. " part\n" .. n .. " end\n")
			else
				socket.write(id, "999 nobody's\n" .. line .. "\n")
			end
		end))
		local c = socketchannel.channel { host = "127.0.0.1", port = port, response = response }
		assert.same({ "part", "part", "end" }, c:request("7 parts\n", 7))
		local ok, err = pcall(c.request, c, "8 fail\n", 8)
		assert.is_false(ok)
		assert.equal("fail", err)
		assert.equal("fine", c:request("9 fine\n", 9))
		c:close()
		stop()
	end)
end)

describe("socketchannel, auth and backup", function()
	it("runs auth before anybody else may use the connection", function()
		local order = {}
		local port, stop = server(lines(function(id, line)
			order[#order + 1] = line
			socket.write(id, line .. "\n")
		end))
		local c = socketchannel.channel { host = "127.0.0.1", port = port, auth = function(c)
			assert(c:request("login\n", read_line) == "login")
			skynet.sleep(2)
		end }
		local left = 3
		for i = 1, 3 do
			skynet.fork(function()
				c:request(i .. "\n", read_line)
				left = left - 1
			end)
		end
		eventually(function() return left == 0 end)
		assert.equal("login 1 2 3", table.concat(order, " "))
		c:close()
		stop()
	end)

	it("says why when auth fails", function()
		local port, stop = server(echo)
		local c = socketchannel.channel { host = "127.0.0.1", port = port, auth = function()
			error "wrong password"
		end }
		local ok, err = pcall(c.connect, c, true)
		assert.is_false(ok)
		assert.truthy(err:find "wrong password" and err:find "no more backup host$")
		c:close()
		stop()
	end)

	it("goes to a backup, and follows changehost", function()
		local dead_port, stop_dead = server(echo)
		stop_dead()
		local port, stop = server(echo)
		local port2, stop2 = server(lines(function(id, line)
			socket.write(id, "second " .. line .. "\n")
		end))
		local c = socketchannel.channel { host = "127.0.0.1", port = dead_port,
			backup = { { host = "127.0.0.1", port = port } } }
		assert.equal("x", c:request("x\n", read_line))
		c:changehost("127.0.0.1", port2)
		assert.equal("second x", c:request("x\n", read_line))
		c:close()
		stop()
		stop2()
	end)

	it("is closed when nobody refers to it any more", function()
		local port, stop, clients = server(echo)
		do
			local c = socketchannel.channel { host = "127.0.0.1", port = port }
			c:request("x\n", read_line)
		end
		assert.truthy(next(clients))
		eventually(function()
			collectgarbage()
			return next(clients) == nil
		end)
		stop()
	end)
end)

describe("socketchannel, timeouts", function()
	-- answers lines; "mute" turns it silent until a new connection is made
	local function moody()
		local connections = 0
		local port, stop = server(function(id)
			connections = connections + 1
			local mute
			for line in function() return socket.readline(id) or nil end do
				if line == "later" then
					skynet.sleep(30)
					socket.write(id, "late\n")
				elseif line == "mute" then
					mute = true
				elseif not mute then
					socket.write(id, line .. "\n")
				end
			end
		end)
		return port, stop, function() return connections end
	end

	it("fails only the call whose time is up, and drops its late answer", function()
		local port, stop, connections = moody()
		local c = socketchannel.channel { host = "127.0.0.1", port = port }
		local patient
		skynet.fork(function()
			skynet.sleep(2)
			patient = c:request("patient\n", read_line)
		end)
		local ok, err = pcall(c.request, c, "later\n", read_line, nil, 5)
		assert.is_false(ok)
		assert.equal(("socketchannel: no answer from 127.0.0.1:%d in time"):format(port), err)
		eventually(function() return patient end)
		assert.equal("patient", patient)
		assert.equal("x", c:request("x\n", read_line, nil, 1000))
		assert.equal(1, connections())
		c:close()
		stop()
	end)

	it("gives up a connection on which nothing is answered any more", function()
		local port, stop, connections = moody()
		local c = socketchannel.channel { host = "127.0.0.1", port = port }
		assert.is_false(pcall(c.request, c, "mute\n", read_line, nil, 2))
		assert.is_false(pcall(c.request, c, "x\n", read_line, nil, 2))
		assert.equal("y", c:request("y\n", read_line, nil, 1000))
		assert.equal(2, connections())
		c:close()
		stop()
	end)

	it("keeps it while a request without a limit is waited for", function()
		local port, stop, connections = moody()
		local c = socketchannel.channel { host = "127.0.0.1", port = port }
		local got
		skynet.fork(function()
			got = c:request("later\n", read_line)
		end)
		skynet.sleep(2)
		for _ = 1, 3 do
			assert.is_false(pcall(c.request, c, "x\n", read_line, nil, 2))
		end
		eventually(function() return got end)
		assert.equal("late", got)
		assert.equal(1, connections())
		c:close()
		stop()
	end)

	it("limits sessions, too", function()
		local port, stop = moody()
		local c = socketchannel.channel { host = "127.0.0.1", port = port, response = function(sock)
			return tonumber(sock:readline()) or 1, true, "fine"
		end }
		assert.is_false(pcall(c.request, c, "later\n", 1, nil, 2))
		assert.equal("fine", c:request("2\n", 2, nil, 1000))
		c:close()
		stop()
	end)

	it("bounds how many wait, when asked to", function()
		local held = {}
		local port, stop = server(lines(function(id, line)
			held[#held + 1] = function()
				socket.write(id, line .. "\n")
			end
		end))
		local c = socketchannel.channel { host = "127.0.0.1", port = port, max_pending = 2 }
		local answers = {}
		for i = 1, 2 do
			skynet.fork(function()
				answers[i] = c:request(i .. "\n", read_line)
			end)
		end
		eventually(function() return #held == 2 end)
		local ok, err = pcall(c.request, c, "3\n", read_line)
		assert.is_false(ok)
		assert.truthy(err:find("2 requests wait for 127.0.0.1:" .. port .. " already", 1, true))
		held[1]()
		held[2]()
		eventually(function() return answers[1] and answers[2] end)
		skynet.fork(function()
			answers[4] = c:request("4\n", read_line)
		end)
		eventually(function() return held[3] end)
		held[3]()
		eventually(function() return answers[4] == "4" end)
		c:close()
		stop()
	end)

	it("limits connecting", function()
		local id, _, port = socket.listen("127.0.0.1", 0, 1) -- never accepts
		local opened, err = {}, nil
		for _ = 1, 8 do
			local new
			new, err = socket.open("127.0.0.1", port, 20)
			if not new then
				break
			end
			opened[#opened + 1] = new
		end
		assert.equal("Connection timed out", err)
		local c = socketchannel.channel { host = "127.0.0.1", port = port, connect_timeout = 10 }
		local ok
		ok, err = pcall(c.connect, c, true)
		assert.is_false(ok)
		assert.equal(socketchannel.error, err)
		for _, new in ipairs(opened) do
			socket.close(new)
		end
		socket.close(id)
	end)

	it("limits the login", function()
		local port, stop = moody()
		local c = socketchannel.channel { host = "127.0.0.1", port = port, connect_timeout = 5,
			auth = function(c) c:request("mute\n", read_line) end }
		local ok, err = pcall(c.connect, c, true)
		assert.is_false(ok)
		assert.equal(socketchannel.error, err)
		c:close()
		stop()
	end)
end)
