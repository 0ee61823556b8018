--- A preload file: runs before each service's main chunk.
local words = table.pack(...)
PRELOADED = table.concat(words, ",", 1, words.n) .. " " .. tostring(LUA_PRELOAD) .. " "
	.. tostring(SERVICE_NAME) .. " " .. tostring(LUA_SERVICE) .. " "
	.. tostring(require ~= nil and package.loaded["skynet.require"])
