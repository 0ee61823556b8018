--- Chromium without a window, for specs that run outside of the runtime.

local kit = require "testkit"
local node = require "node"

local browser = {}

local function words(...)
	local list = {
		"chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--disable-dev-shm-usage", "--ignore-certificate-errors",
		"--user-data-dir=" .. node.file "chromium",
	}
	for _, word in ipairs { ... } do
		list[#list + 1] = word
	end
	return list
end

--- The page as it is after its scripts have run.
---@param url string
---@return string html
function browser.dump(url)
	local n = node.spawn(words("--virtual-time-budget=20000", "--dump-dom", url))
	n:exit_code()
	return n.text
end

--- Open a page, and leave it open until close(), which is returned.
---@param url string
---@return function close
function browser.open(url)
	local n = node.spawn(words("--remote-debugging-port=0", url))
	return function()
		kit.kill(-n.pid, 15) -- its helper processes, too
		kit.sleep(0.5)
		kit.kill(-n.pid, 9)
		n:kill()
	end
end

return browser
