--- A leaderboard: commands, a pipeline, a transaction, and messages to whoever subscribed.
local skynet = require "skynet"
local redis = require "skynet.db.redis"
require "skynet.manager"

local conf = {
	host = os.getenv "REDIS_HOST" or "127.0.0.1",
	port = tonumber(os.getenv "REDIS_PORT") or 6379,
	timeout = 500, -- centiseconds: no command waits for longer
}

-- Print the next `count` announcements.
local function listen(watch, count)
	for _ = 1, count do
		local text = watch:message()
		skynet.error("heard:", text)
	end
	watch:disconnect()
end

local function play(db)
	db:del "example:scores"
	-- one round trip for all of them; each has a result of its own
	local results = db:pipeline({
		{ "ZADD", "example:scores", 10, "ann" },
		{ "ZADD", "example:scores", 20, "bob" },
		{ "ZINCRBY", "example:scores", 15, "ann" },
		{ "GET", "example:scores" }, -- the wrong type
	}, {})
	skynet.error("ann has", results[3].out)
	skynet.error("that didn't work:", results[4].out)
	db:publish("example:news", "ann takes the lead")
	db:publish("example:news", "the game is over")
end

local function show(db)
	local best = db:zrevrange("example:scores", 0, -1, "WITHSCORES")
	for i = 1, #best, 2 do
		skynet.error(("%d. %s %s"):format(i // 2 + 1, best[i], best[i + 1]))
	end
end

skynet.start(function()
	local ok, db = pcall(redis.connect, conf)
	if not ok then
		skynet.error(("no Redis at %s:%d (%s)"):format(conf.host, conf.port, tostring(db)))
		skynet.abort()
		return
	end
	local watch = redis.watch(conf)
	watch:subscribe "example:news"
	while db:pubsub("NUMSUB", "example:news")[2] == 0 do
		skynet.sleep(1) -- a subscription isn't answered
	end
	play(db)
	listen(watch, 2)
	show(db)
	db:disconnect()
	skynet.abort()
end)
