--- Hand-written harbor peers: bytes of masters, slaves and links, for specs.

local kit = require "testkit"
local node = require "node"

local M = {}

local LIMIT = 60

--- A port nobody listens on now.
function M.free_port()
	local fd, port = kit.listen()
	kit.close(fd)
	return port
end

--- Start a node of a harbor network. `role`: { id =, master = port, [standalone = true],
--- [start =], ... more configuration }
function M.start(role)
	local port = M.free_port()
	local config = {
		harbor = role.id,
		address = "127.0.0.1:" .. port,
		master = "127.0.0.1:" .. role.master,
		standalone = role.standalone and "127.0.0.1:" .. role.master or nil,
		start = role.start or "harbornode",
		snax = "./test/services/?.lua",
		harbor_timeout = role.harbor_timeout,
	}
	local n = node.start(config)
	n.port = port
	n.tag = 0
	return n
end

function M.order(n, ...)
	kit.write(n.input, table.concat({ ... }, " ") .. "\n", 10)
end

--- Order a call; returns a function that waits for the text of its result.
function M.call(n, ...)
	n.tag = n.tag + 1
	local tag = ("t%d."):format(n.tag)
	M.order(n, "call", tag, ...)
	return function(limit)
		return (n:expect("result " .. tag:gsub("%.", "%%.") .. " ([^\n]*)", limit))
	end
end

--- Bytes of "00 ff 0a" and strings: bytes("0c 48", "text").
function M.bytes(hex)
	return (hex:gsub("%s+", ""):gsub("%x%x", function(x)
		return string.char(tonumber(x, 16))
	end))
end

function M.hex(s)
	return (s:gsub(".", function(c)
		return ("%02x "):format(c:byte())
	end):sub(1, -2))
end

-- Values as they're packed: strings under 32 bytes, small integers, handles.
local function packed(v)
	if type(v) == "string" then
		return string.char(#v << 3 | 4) .. v
	elseif v == 0 then
		return "\x02"
	elseif v < 256 then
		return "\x0a" .. string.char(v)
	end
	return "\x22" .. string.pack("<I4", v)
end

--- A package between master and slave.
function M.package(...)
	local text = ""
	for i = 1, select("#", ...) do
		text = text .. packed((select(i, ...)))
	end
	return string.char(#text) .. text
end

--- A frame between slaves.
function M.frame(payload, source, destination, type, session)
	return string.pack(">I4", #payload + 12) .. payload
		.. string.pack(">I4I4I4", source, (destination & 0xffffff) | type << 24, session)
end

function M.write(fd, bytes)
	assert(kit.write(fd, bytes, LIMIT) == #bytes, "can't write to the peer")
end

--- Exactly n bytes; fewer when the peer closes or nothing comes.
function M.read(fd, n)
	local got = ""
	local deadline = kit.now() + LIMIT
	while #got < n and kit.now() < deadline do
		local s = kit.read(fd, 1, n - #got)
		if s == "" then
			break
		end
		got = got .. (s or "")
	end
	return got
end

--- Wait until the peer closes; what it sent before.
function M.read_end(fd)
	local got = ""
	local deadline = kit.now() + LIMIT
	while kit.now() < deadline do
		local s = kit.read(fd, 1)
		if s == "" then
			return got
		end
		got = got .. (s or "")
	end
	error("the peer doesn't close the connection", 2)
end

--- Connect to a port that opens some time; nil and why after a while.
function M.connect(port, limit)
	local deadline = kit.now() + (limit or LIMIT)
	while true do
		local fd, err = kit.connect(port)
		if fd or kit.now() > deadline then
			return fd, err
		end
		kit.sleep(0.05)
	end
end

function M.accept(listener)
	return assert(kit.accept(listener, LIMIT), "nobody connects")
end

return M
