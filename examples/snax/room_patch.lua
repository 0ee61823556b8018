--- A patch for rooms that are open: what is said is cleaned, and a room can be emptied.
---
--- Locals without a value stand for the service's own of the same name, so the state stays;
--- locals with a value are new.

local members, lines
local rude = { darn = "****" }

function accept.say(who, text)
	members[who] = (members[who] or 0) + 1
	lines[#lines + 1] = ("%s: %s"):format(who, text:gsub("%a+", rude))
end

--- Runs once, when the patch was applied; its results are those of snax.hotfix.
function hotfix(limit)
	local dropped = math.max(#lines - limit, 0)
	table.move(lines, dropped + 1, #lines + dropped, 1)
	return dropped, #lines
end
