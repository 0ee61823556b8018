--- Log lines with a level: debug, info, warn or error.
--
-- A line is logged as skynet.error does it, with its level in front: "[WARN] text". Lines below
-- the node's level (config key `log_level`, default "info"; debug console: `log warn`) are
-- dropped before they're made. What skynet.error itself logs has no level and is always written.

local core = require "skynet.core"
local runtime = require "skynet.runtime"

local log_line = core.error
local level_now = runtime.loglevel

---@class skynet.log
local log = {
	--- Number of each level; lines of lower numbers than the node's are dropped.
	levels = { debug = 0, info = 1, warn = 2, error = 3 },
}

local names = {}
for name, n in pairs(log.levels) do
	names[n] = name
end

--- Log at level debug; arguments as for skynet.error.
---@param ... any
function log.debug(...)
	if level_now() <= 0 then
		log_line("[DEBUG]", ...)
	end
end

--- Log at level info.
---@param ... any
function log.info(...)
	if level_now() <= 1 then
		log_line("[INFO]", ...)
	end
end

--- Log at level warn.
---@param ... any
function log.warn(...)
	if level_now() <= 2 then
		log_line("[WARN]", ...)
	end
end

--- Log at level error.
---@param ... any
function log.error(...)
	log_line("[ERROR]", ...)
end

--- The node's log level; set it first when a name is given.
--- Raises when the name isn't one of `levels`.
---@param name string|nil
---@return string name
function log.level(name)
	local n
	if name ~= nil then
		n = log.levels[name]
		if not n then
			error(("no log level %s: use debug, info, warn or error"):format(tostring(name)))
		end
	end
	return names[level_now(n)]
end

--- Would a line of this level be written? For lines that are expensive to make.
---@param name string
---@return boolean
function log.enabled(name)
	return log.levels[name] >= level_now()
end

return log
