--- URLs as request lines carry them: path, query, and percent encoding.

---@class http.url
local url = {}

local function byte_of(hex)
	return string.char(tonumber(hex, 16))
end

-- A bad escape stays as it is: there is nothing better to make of it.
local function decode(text)
	text = text:gsub("+", " "):gsub("%%(%x%x)", byte_of)
	return text
end

local function escape(c)
	return ("%%%02X"):format(c:byte())
end

--- Split a request target.
---@param u string
---@return string path  decoded
---@return string query  as it came: what follows the first "?"
function url.parse(u)
	local path, query = u:match "^([^?]*)%??(.*)$"
	return decode(path), query
end

--- The values of a query, decoded. A name that comes more than once has a list of values;
--- parts without "=" are left out.
---@param q string
---@return table<string, string|string[]>
function url.parse_query(q)
	local result = {}
	for part in q:gmatch "[^&]+" do
		local name, value = part:match "^([^=]*)=(.*)$"
		if name then
			name, value = decode(name), decode(value)
			local known = result[name]
			if known == nil then
				result[name] = value
			elseif type(known) == "table" then
				known[#known + 1] = value
			else
				result[name] = { known, value }
			end
		end
	end
	return result
end

--- Percent-encode everything but letters, digits and "_", so that the text is safe anywhere.
---@param text string|number
---@return string
function url.encode(text)
	text = tostring(text):gsub("[^%w_]", escape)
	return text
end

--- The opposite of encode; "+" is a blank, too.
---@type fun(text: string): string
url.decode = decode

--- Encode names and values as a query or a form; a list gives several values of one name.
---@param values table<string, any>
---@return string
function url.build_query(values)
	local parts = {}
	for name, value in pairs(values) do
		name = url.encode(name)
		for _, v in ipairs(type(value) == "table" and value or { value }) do
			parts[#parts + 1] = name .. "=" .. url.encode(v)
		end
	end
	return table.concat(parts, "&")
end

return url
