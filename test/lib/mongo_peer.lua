--- A MongoDB server for specs: it speaks OP_MSG on a socket, records what it's asked, and answers
--- from a table of documents or functions.

local bson = require "bson"
local driver = require "skynet.mongo.driver"
local skynet = require "skynet"
local socket = require "skynet.socket"

local peer = {}
peer.__index = peer

local function message(id, responds_to, doc, flags, opcode)
	local bytes = tostring(doc)
	return string.pack("<i4i4i4i4I4B", 21 + #bytes, id, responds_to, opcode or 2013, flags or 0, 0) .. bytes
end

-- The name of a document's first element.
local function first_key(raw)
	return raw:match("^([^\0]+)\0", 6)
end

-- One request of a connection; false at its end.
local function serve(self, fd)
	local head = socket.read(fd, 4)
	local rest = head and socket.read(fd, driver.length(head))
	if not rest then
		return false
	end
	local id, _, opcode, flags, kind = string.unpack("<i4i4i4I4B", rest)
	local raw = rest:sub(18)
	local _, _, ptr, size = driver.reply(rest)
	local request = {
		id = id, opcode = opcode, flags = flags, kind = kind, raw = raw, fd = fd,
		name = first_key(raw), doc = bson.decode(ptr, size),
	}
	table.insert(self.log, request)
	self.last = request
	local answer = self.answers[request.name]
	if type(answer) == "function" then
		answer = answer(request.doc, request)
	end
	if type(answer) == "string" then
		socket.write(fd, answer) -- bytes as they are
	elseif answer and flags & 2 == 0 then
		socket.write(fd, message(1000 + #self.log, id, type(answer) == "table" and bson.encode(answer) or answer))
	end
	return true
end

--- Start a server; `answers` maps command names to replies.
function peer.start(answers)
	local self = setmetatable({ log = {}, fds = {}, answers = answers or {} }, peer)
	self.answers.ismaster = self.answers.ismaster or { ismaster = true, ok = 1 }
	local id, _, port = socket.listen("127.0.0.1", 0)
	self.id, self.port = id, port
	socket.start(id, function(fd)
		skynet.fork(function()
			socket.start(fd)
			self.fds[fd] = true
			while serve(self, fd) do end
			self.fds[fd] = nil
			socket.close(fd)
		end)
	end)
	return self
end

--- Drop all connections.
function peer:drop()
	for fd in pairs(self.fds) do
		socket.shutdown(fd)
	end
end

function peer:stop()
	socket.close(self.id)
	self:drop()
end

--- The requests with a name.
function peer:requests(name)
	local list = {}
	for _, r in ipairs(self.log) do
		if r.name == name then
			list[#list + 1] = r
		end
	end
	return list
end

peer.message = message

return peer
