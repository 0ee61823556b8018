std = "lua54"
max_line_length = 110
-- set by the loader in every service
read_globals = { "SERVICE_NAME", "SERVICE_PATH", "SERVICE_DESC" }
self = false
exclude_files = { "3rd/", "build/" }
files["test/**/*_spec.lua"] = { std = "+busted" }
files["examples/cluster/names.lua"] = { ignore = { "111" } }
files["lualib/loader.lua"] = {
	globals = { "SERVICE_NAME", "SERVICE_PATH", "LUA_SERVICE", "LUA_PATH", "LUA_CPATH", "LUA_PRELOAD" },
}
files["test/fuzz/*_fuzz.lua"] = { globals = { "fuzz" } }
files["test/runner/*.lua"] = { globals = { "arg" } }
files["test/services/*.lua"] = { globals = { "KEEP" } }
