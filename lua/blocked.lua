-- blocked.lua: whose running streams are to be cut.
--
--   agent --GET /blocked, twice a second--> the list --> usage.lua: cut?
--
-- usage.lua loads this file from its own folder; each thread has its own list.
-- New requests of a blocked caller are refused by the agent's decision, so the
-- list is only about what ran when it changed. When the agent does not answer,
-- the last list stays, and nothing is cut because of that.
--
-- In the environment:
--   GATEWAY_AGENT  127.0.0.1:9102, the agent's listen.http: an address, no name

local match = string.match

local ADDRESS = os.getenv("GATEWAY_AGENT") or "127.0.0.1:9102"
local EVERY_MS = 500
local TIMEOUT_S = 2
local HEADERS_MAX = 50
local BODY_MAX = 1000000
local SETTLED = 6 -- polls: 3 s; a decision takes 1 s, on a lease 1 s old

local M = {
	version = 0, -- time of the last change; 0: there was none
	-- The version for a stream that begins now: it was decided on when this
	-- was known. Directly after a change that is not so, and then 0.
	settled = 0,
}

local names = {} -- "consumer:NAME", "app:NAME", "agent:NAME" -> true
local quiet = 0  -- polls since the last change

function M.has(kind, name)
	return name ~= nil and names[kind .. name] == true
end

-- What the agent has answered. An older version is that of another worker,
-- which has not read the newer one yet. Nil and a reason when it is no list.
function M.read(text)
	local version, rest = match(text, "^version (%d+)\n()")
	version = tonumber(version)
	if not version then return nil, "the answer is no list" end
	if version <= M.version then return true end
	names = {}
	for name in text:sub(rest):gmatch("([^\n]+)\n") do names[name] = true end
	M.version, M.settled, quiet = version, 0, 0
	return true
end

-- Once for each poll, whatever came of it.
function M.tick()
	quiet = quiet + 1
	if quiet == SETTLED then M.settled = M.version end
end

-- ---- the task: yields, and knows HAProxy

-- The body of a complete answer with status 200; else nil and a reason.
local function body_of(socket)
	local line, err = socket:receive("*l")
	if not line then return nil, err or "no answer" end
	local status = match(line, "^HTTP/1%.%d (%d%d%d)")
	if status ~= "200" then return nil, "it answers with " .. line end
	local length
	for _ = 1, HEADERS_MAX do
		line, err = socket:receive("*l")
		if not line then return nil, err or "an answer without end" end
		if line == "" then break end
		length = match(line:lower(), "^content%-length:%s*(%d+)$") or length
	end
	length = tonumber(length)
	if not length or length > BODY_MAX then return nil, "no usable length" end
	return socket:receive(length)
end

local function ask()
	local host, port = match(ADDRESS, "^%[?([^%[%]]+)%]?:(%d+)$")
	if not host then return nil, "GATEWAY_AGENT is no ADDRESS:PORT" end
	local socket = core.tcp()
	socket:settimeout(TIMEOUT_S)
	local ok, err = socket:connect(host, tonumber(port))
	if not ok then return nil, err or "no connection" end
	socket:send("GET /blocked HTTP/1.0\r\n\r\n")
	local body
	body, err = body_of(socket)
	socket:close()
	if not body then return nil, err or "the answer was cut off" end
	return M.read(body)
end

local function tell(failing, why)
	if core.thread and core.thread > 1 then return end -- once is enough
	if failing then
		core.log(core.warning, "blocked.lua: the agent (" .. ADDRESS ..
			") does not tell who is blocked: " .. tostring(why) ..
			"; running streams are cut by what is known")
	else
		core.log(core.notice, "blocked.lua: the agent (" .. ADDRESS ..
			") tells who is blocked")
	end
end

function M.follow()
	local failing = false
	while true do
		local called, ok, why = pcall(ask)
		if not called then ok, why = nil, ok end
		if failing ~= not ok then
			failing = not ok
			tell(failing, why)
		end
		M.tick()
		core.msleep(EVERY_MS)
	end
end

return M
