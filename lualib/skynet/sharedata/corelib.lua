--- Shared documents without the service: make them, hand them to other services of the process as
--- light userdata, read them through boxes. skynet.sharedata is built on this.

local core = require "skynet.sharedata.core"

local corelib = {}

--- What the owner of documents does. An object is a light userdata; a forged or deleted one raises
--- `Need a conf object`.
corelib.host = {
	--- new(table) -> object. Raises `Invalid key ...`, `Invalid key type <t>` or
	--- `Unsupport value type <t>`, each after the path.
	---@type fun(value: table): lightuserdata
	new = core.new,
	--- Give the object up. It's freed once no box and no incref refers to it.
	---@type fun(obj: lightuserdata)
	delete = core.delete,
	--- Number of boxes, in all services, and of increfs.
	---@type fun(obj: lightuserdata): integer
	getref = core.getref,
	--- There is a newer version: boxes may be moved to it with update.
	---@type fun(obj: lightuserdata)
	markdirty = core.markdirty,
	---@type fun(obj: lightuserdata): integer
	incref = core.incref,
	--- Raises `decref without an incref` when there's none left to undo.
	---@type fun(obj: lightuserdata): integer
	decref = core.decref,
}

--- A read-only table through which this service reads an object. Sub-tables are boxes as well.
---@type fun(obj: lightuserdata): table
corelib.box = core.open

--- Move a box, and all boxes of its sub-tables, to a newer version.
--- Raises `Only dirty object can be update`, or `You should update a new object` for the same one.
---@type fun(box: table, obj: lightuserdata)
corelib.update = core.update

--- Bind all boxes of sub-tables that this service has made to the current version now, and forget
--- those whose path leads nowhere any more.
---@type fun(box: table)
corelib.flush = core.flush

--- A plain Lua copy of the value at a path of keys; nothing when there's none, or it's false.
---@type fun(obj: lightuserdata|table, ...: string|integer): any
corelib.copy = core.copy

--- As the standard next, for a box.
---@type fun(box: table, key: string|integer|nil): any, any
corelib.next = core.next

return corelib
