--- A client of the debug console, for specs that run in a plain Lua.

local kit = require "testkit"

local console = {}
console.__index = console

local LIMIT = 60 -- seconds

--- Connect; the greeting is left to be read.
---@param port integer
function console.connect(port)
	local fd, err
	for _ = 1, 100 do
		fd, err = kit.connect(port)
		if fd then
			break
		end
		kit.sleep(0.05)
	end
	assert(fd, err)
	return setmetatable({ fd = fd, text = "" }, console)
end

function console:send(text)
	kit.write(self.fd, text, LIMIT)
end

--- Read until `pattern` matches what came since the last expect; returns that up to the match's
--- end, and the match's captures.
---@param pattern string
---@param limit number|nil  seconds
function console:expect(pattern, limit)
	local deadline = kit.now() + (limit or LIMIT)
	while true do
		local found = table.pack(self.text:find(pattern))
		if found[1] then
			local seen = self.text:sub(1, found[2])
			self.text = self.text:sub(found[2] + 1)
			return seen, table.unpack(found, 3, found.n)
		end
		local bytes = not self.ended and kit.read(self.fd, 0.2)
		if bytes == "" then
			self.ended = true
		elseif bytes then
			self.text = self.text .. bytes
		end
		if self.ended and not bytes or kit.now() > deadline then
			error(("no %q in what the console sent:\n%s"):format(pattern, self.text), 2)
		end
	end
end

--- Run a command; returns its output without the closing line, and that line.
---@param line string
---@return string output, string closing  "OK" or "Error"
function console:run(line)
	self:send(line .. "\n")
	local seen, how = self:expect "<CMD (%a+)>\n"
	seen = seen:gsub("^Welcome to skynet console\n", "") -- on a fresh connection
	return (seen:gsub("<CMD %a+>\n$", "")), how
end

--- Read everything until the other side closes.
function console:rest()
	while true do
		local bytes = kit.read(self.fd, LIMIT)
		if not bytes then
			error "the console doesn't close"
		elseif bytes == "" then
			return self.text
		end
		self.text = self.text .. bytes
	end
end

function console:close()
	kit.close(self.fd)
end

return console
