std = "lua54"
max_line_length = 110
-- set by the loader in every service
read_globals = { "SERVICE_NAME", "SERVICE_PATH", "SERVICE_DESC" }
self = false
exclude_files = { "3rd/", "build/", "lualib/re.lua" }
files["test/**/*_spec.lua"] = { std = "+busted" }
files["examples/cluster/names.lua"] = { ignore = { "111" } }
files["lualib/loader.lua"] = {
	globals = { "SERVICE_NAME", "SERVICE_PATH", "LUA_SERVICE", "LUA_PATH", "LUA_CPATH", "LUA_PRELOAD" },
}
files["service/snaxd.lua"] = { globals = { "SERVICE_NAME", "SERVICE_PATH" } }
files["test/fuzz/*_fuzz.lua"] = { globals = { "fuzz" } }
files["test/runner/*.lua"] = { globals = { "arg" } }
files["test/services/*.lua"] = {
	globals = { "KEEP", "SERVICE_NAME", "SERVICE_PATH", "LUA_SERVICE", "LUA_PATH", "LUA_CPATH",
		"LUA_PRELOAD", "PRELOADED", "OWN_LOADER", "FROM_MODULE", "snax", "accept", "response", "init",
		"exit" },
}
files["examples/snax/room*.lua"] = {
	globals = { "accept", "response", "init", "exit", "hotfix" },
	ignore = { "221" }, -- a patch's locals without a value are the service's own
}
