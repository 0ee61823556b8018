--- Which cell of the ledger holds what.
return {
	dropped = 0, -- messages the kernel dropped: counted by its hook
	stop = 1,    -- 1: the actors end their loops
	port = 2,    -- where the node's echo server listens
	sent = 3,
	received = 4,
	disorder = 5, -- messages out of order, or twice
	wrong = 6,   -- answers that aren't what was asked for
	calls = 7,
	failed = 8,  -- calls that ended with an error
	echoed = 9,  -- bytes that went through sockets
	lonely = 10, -- cluster calls that failed although the other node was never touched
	remote = 11, -- cluster calls answered
	published = 12,
	SLOTS = 32,  -- from here on: the actors' addresses
	TO = 128,    -- from here on: cluster sends to node 1, 2, ...
	FROM = 160,  -- ... and received from node 1, 2, ...
}
