--- Authentication with a MongoDB server: SCRAM (RFC 5802, 7677), and the old MONGODB-CR.
--
-- Each mechanism is a function (run, user, password): `run` runs a command on the database that
-- has the user and returns the reply. It returns true, or false after it has logged why not.

local driver = require "skynet.mongo.driver"
local crypt = require "skynet.crypt"
local bson = require "bson"
local md5 = require "md5"
local skynet = require "skynet"

local b64encode, b64decode = crypt.base64encode, crypt.base64decode

local NONCE_BYTES = 8
local MECHANISM_UNAVAILABLE = 334 -- the server's code for it

local auth = {}

local function refuse(text)
	skynet.error(text)
	return false
end

local function digest_password(user, password)
	return md5.sumhexa(("%s:mongo:%s"):format(user, password))
end

-- The server answers in the form it was asked in, but a binary is as good.
local function payload(reply)
	local kind, bytes = bson.type(reply.payload)
	if kind == "binary" then
		return bytes
	elseif kind == "string" then
		return b64decode(bytes)
	end
	return ""
end

local function fields(text)
	local t = {}
	for key, value in text:gmatch "(%a)=([^,]*)" do
		t[key] = value
	end
	return t
end

-- What the client proves itself with, and what the server must answer.
local function proof(digest, password, first_bare, server_first, server, without_proof)
	local salted = driver.pbkdf2(digest, password, b64decode(server.s), math.tointeger(server.i))
	local message = ("%s,%s,%s"):format(first_bare, server_first, without_proof)
	local client_key = driver.hmac(digest, salted, "Client Key")
	local signature = driver.hmac(digest, driver.hash(digest, client_key), message)
	local expected = driver.hmac(digest, driver.hmac(digest, salted, "Server Key"), message)
	return b64encode(crypt.xor_str(client_key, signature)), b64encode(expected)
end

-- The first reply's fields if they can be used.
local function check_first(text, nonce)
	local server = fields(text)
	if not server.r or server.r:sub(1, #nonce) ~= nonce then
		return nil
	end
	server.i = tonumber(server.i)
	if not server.s or not math.tointeger(server.i) then
		return nil
	end
	return server
end

local function finish(run, reply)
	if reply.done then
		return true
	end
	reply = run("saslContinue", 1, "conversationId", reply.conversationId, "payload", "")
	if reply.ok ~= 1 or not reply.done then
		return refuse "SASL conversation failed to complete."
	end
	return true
end

--- The messages of a SCRAM client, without sending them.
---@param digest "sha1"|"sha256"
---@param user string
---@param password string  digested before, for sha1
---@param nonce string
---@return string first       the client's first message
---@return fun(server_first: string): string|nil, string|nil  the final message and the server's
---  signature that belongs to it; nil when the server's message can't be used
function auth.scram_messages(digest, user, password, nonce)
	local name = user:gsub("=", "=3D"):gsub(",", "=2C")
	local bare = ("n=%s,r=%s"):format(name, nonce)
	return "n,," .. bare, function(server_first)
		local server = check_first(server_first, nonce)
		if not server then
			return nil
		end
		local without_proof = "c=biws,r=" .. server.r
		local p, signature = proof(digest, password, bare, server_first, server, without_proof)
		return without_proof .. ",p=" .. p, signature
	end
end

local function scram(mechanism, digest, run, user, password)
	local nonce = b64encode(driver.random(NONCE_BYTES))
	local first, continue = auth.scram_messages(digest, user, password, nonce)
	local reply = run("saslStart", 1, "autoAuthorize", 1, "mechanism", mechanism, "payload",
		b64encode(first))
	if reply.ok ~= 1 then
		return refuse(reply.errmsg or "SASL conversation failed to start."), reply.code
	end
	local final, signature = continue(payload(reply))
	if not final then
		return refuse "Server returned an invalid nonce."
	end
	reply = run("saslContinue", 1, "conversationId", reply.conversationId, "payload",
		b64encode(final))
	if reply.ok ~= 1 then
		return refuse(reply.errmsg or "SASL conversation failed to complete.")
	elseif fields(payload(reply)).v ~= signature then
		return refuse "Server returned an invalid signature."
	end
	return finish(run, reply)
end

auth.mechanisms = {}

function auth.mechanisms.scram_sha1(run, user, password)
	return scram("SCRAM-SHA-1", "sha1", run, user, digest_password(user, password))
end

function auth.mechanisms.scram_sha256(run, user, password)
	return scram("SCRAM-SHA-256", "sha256", run, user, password)
end

function auth.mechanisms.mongodb_cr(run, user, password)
	local reply = run("getnonce", 1)
	if reply.ok ~= 1 then
		return refuse(reply.errmsg or "getnonce failed")
	end
	local key = md5.sumhexa(reply.nonce .. user .. digest_password(user, password))
	reply = run("authenticate", 1, "user", user, "nonce", reply.nonce, "key", key)
	return reply.ok == 1 or refuse(reply.errmsg or "authenticate failed")
end

--- Authenticate.
--- Raises `Invalid authmod`.
---@param run fun(...): table
---@param mechanism string|nil  scram_sha1, scram_sha256 or mongodb_cr; nil: scram_sha1, or
---  scram_sha256 if the user doesn't have the former
---@param user string
---@param password string
---@return boolean
function auth.authenticate(run, mechanism, user, password)
	local f = assert(auth.mechanisms[mechanism or "scram_sha1"], "Invalid authmod")
	local ok, code = f(run, user, password)
	if not ok and mechanism == nil and code == MECHANISM_UNAVAILABLE then
		ok = auth.mechanisms.scram_sha256(run, user, password)
	end
	return ok
end

return auth
