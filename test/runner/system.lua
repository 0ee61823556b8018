-- Run one spec file with busted, under the interpreter that was built beside the runtime.
arg = { [0] = "busted", "-o", "TAP", "--helper=test/lib/helper.lua", (...) }
require "busted.runner" { standalone = false }
