--- Certificates for specs, made by the openssl program: an authority, and certificates of it.

local certs = {}

local function run(...)
	local command = table.concat({ ... }, " ") .. " >/dev/null 2>&1"
	assert(os.execute(command), command)
end

--- Make a folder with ca.pem, and NAME.pem and NAME.key for each name ("localhost" names
--- 127.0.0.1, too).
---@param dir string
---@param ... string names
function certs.make(dir, ...)
	run("mkdir -p", dir)
	run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2",
		"-keyout", dir .. "/ca.key", "-out", dir .. "/ca.pem", "-subj /CN=specs-authority")
	for _, name in ipairs { ... } do
		local base = dir .. "/" .. name
		local f = assert(io.open(base .. ".ext", "w"))
		f:write("subjectAltName=DNS:", name, name == "localhost" and ",IP:127.0.0.1" or "", "\n")
		f:close()
		run("openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout",
			base .. ".key", "-out", base .. ".csr -subj /CN=" .. name)
		run("openssl x509 -req -days 2 -CAcreateserial -in", base .. ".csr -CA", dir .. "/ca.pem -CAkey",
			dir .. "/ca.key -out", base .. ".pem -extfile", base .. ".ext")
	end
	return dir
end

return certs
