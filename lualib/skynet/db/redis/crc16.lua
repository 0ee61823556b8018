--- CRC-16/XMODEM: how Redis Cluster maps keys to slots.

local byte = string.byte

local table_of = {}
for i = 0, 255 do
	local crc = i << 8
	for _ = 1, 8 do
		crc = crc & 0x8000 ~= 0 and crc << 1 ~ 0x1021 or crc << 1
	end
	table_of[i] = crc & 0xffff
end

---@param s string
---@return integer  0 to 65535
return function(s)
	local crc = 0
	for i = 1, #s do
		crc = (crc << 8 & 0xffff) ~ table_of[crc >> 8 ~ byte(s, i)]
	end
	return crc
end
