--- Keeps the services made by skynet.service: one per name.

local skynet = require "skynet"

local provider = {}
local services = {} -- name -> { address =, error =, booting =, queue = {}, init =, time = }

local function entry(name)
	local s = services[name]
	if s == nil then
		s = { queue = {} }
		services[name] = s
	end
	return s
end

local function answer(s)
	for _, response in ipairs(s.queue) do
		response(s.address ~= nil, s.address)
	end
	s.queue = {}
end

-- -> address, or nil and whether somebody starts it
function provider.test(name)
	local s = services[name]
	if s == nil then
		skynet.retpack(nil)
	elseif s.error then
		error(s.error)
	else
		skynet.retpack(s.address, s.booting)
	end
end

function provider.query(name)
	local s = entry(name)
	if s.address then
		skynet.retpack(s.address)
	elseif s.error then
		error(s.error)
	else
		s.queue[#s.queue + 1] = skynet.response()
	end
end

local function boot(address, name, code, ...)
	local s = entry(name)
	local args = table.pack(...)
	for i = 1, args.n do
		args[i] = tostring(args[i])
	end
	s.init = table.concat(args, ",")
	s.time = skynet.time()
	return pcall(skynet.call, address, "lua", "init", code, ...)
end

function provider.launch(name, code, ...)
	local s = entry(name)
	if s.address then
		return skynet.retpack(s.address)
	elseif s.booting then
		s.queue[#s.queue + 1] = skynet.response()
		return
	elseif s.error then
		error(s.error)
	end
	s.booting = true
	local address
	local ok, err = pcall(function()
		address = skynet.newservice("service_cell", name)
	end)
	if ok then
		ok, err = boot(address, name, code, ...)
	end
	s.booting = nil
	if ok then
		s.address = address
		skynet.retpack(address)
		answer(s)
		return
	end
	if address then
		skynet.kill(address)
	end
	s.error = tostring(err)
	answer(s)
	error(s.error)
end

-- -> address of what has to be killed, or false
function provider.close(name)
	local s = services[name]
	if s == nil or not (s.address or s.error) then
		return skynet.retpack(false) -- there's none yet; who waits for it goes on waiting
	end
	services[name] = nil
	skynet.retpack(s.address or false)
end

local function info()
	local result = {}
	for name, s in pairs(services) do
		local status = s.booting and "booting" or s.error or s.address and "running" or "asked for"
		local key = s.address and skynet.address(s.address) or name
		result[key] = {
			name = name,
			init = s.init,
			time = s.time and os.date("%Y %b %d %T %z", math.floor(s.time)),
			status = status,
		}
	end
	return result
end

skynet.start(function()
	require "skynet.manager"
	skynet.dispatch("lua", function(_, _, cmd, ...)
		local f = assert(provider[cmd], "unknown command")
		f(...)
	end)
	skynet.info_func(info)
end)
