--- Schemas that all services of the process share, in numbered slots (0..15).
--
-- A slot keeps its schema; the service that filled it may exit. When a slot is filled again, the
-- schema before is freed as soon as no service uses it any more.

local core = require "sproto.core"
local parser = require "sprotoparser"
local sproto = require "sproto"

local loader = {}

--- Let a slot hold a schema.
---@param bundle string  from sprotoparser.parse
---@param slot integer|nil  0..15; default 0
function loader.save(bundle, slot)
	local handle = core.newproto(bundle)
	if not handle then
		error "sprotoloader.save: the bundle is malformed (use what sprotoparser.parse returns)"
	end
	local ok, err = pcall(core.saveproto, handle, slot)
	core.deleteproto(handle) -- the slot has a reference of its own
	if not ok then
		error(err, 2)
	end
end

--- Compile a schema file into a slot.
---@param filename string
---@param slot integer|nil  0..15; default 0
function loader.register(filename, slot)
	local f, err = io.open(filename, "rb")
	if not f then
		error(("sprotoloader.register: %s: Can't open sproto file"):format(err), 2)
	end
	local text = f:read "a"
	f:close()
	loader.save(parser.parse(text, filename), slot)
end

--- The schema in a slot. Raises `nil sproto at index N` when the slot is empty.
---@param slot integer|nil  0..15; default 0
---@return sproto
function loader.load(slot)
	return sproto.sharenew(core.loadproto(slot))
end

return loader
