--- The hundred pairs of pairs.lua, on one worker: beside those on two, what the second one brings.
-- workers: 1
local skynet = require "skynet"

assert(loadfile(skynet.getenv "bench_dir" .. "/pairs.lua"))(...)
