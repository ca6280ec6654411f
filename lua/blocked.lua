-- blocked.lua: whose running streams are to be cut.
--
--   limits block --> Redis --> agent --GET /blocked--> follow --> names
--                                      twice a second            |
--                              usage.lua, each chunk: has? ------+
--
-- usage.lua loads this file from its own folder. lua-load-per-thread gives each
-- thread a list and a task of its own, so nothing is shared or locked. New
-- requests of a blocked caller are refused by the agent, so the list is only
-- about streams that ran when it changed. While the agent does not answer, the
-- last list stays in force: a gateway without its agent must not cut anything.
--
-- In the environment:
--   GATEWAY_AGENT  127.0.0.1:9102, the agent's listen.http: an address, no name

local match = string.match

local ADDRESS = os.getenv("GATEWAY_AGENT") or "127.0.0.1:9102"
local EVERY_MS = 500     -- as often as the agent asks Redis (store/blocked.h)
local TIMEOUT_S = 2      -- for connecting, and for each receive
local HEADERS_MAX = 50   -- lines; the agent sends a few
local BODY_MAX = 1000000 -- bytes; twice BLOCKED_TEXT_MAX of store/blocked.h
-- Polls after a change until every stream that begins was decided on with the
-- changed list: 6 are 3 s. HAProxy waits 1 s for a decision, and a decision on
-- a lease may use what Redis said 1 s before.
local SETTLED = 6

local M = {
	version = 0, -- of the list: time of its last change in ms; 0: no list
	-- The version that the agent knew when it decided on a stream which
	-- begins now; such a stream need not be looked up in the list. 0 until
	-- SETTLED polls after a change: look it up.
	settled = 0,
}

local names = {} -- "consumer:NAME", "app:NAME", "agent:NAME" -> true
local quiet = 0  -- polls since the last change

-- `kind` is "consumer:", "app:" or "agent:". A caller without that name is not
-- in the list, also not when the list has an empty name.
function M.has(kind, name)
	return name ~= nil and names[kind .. name] == true
end

-- Takes the body of an answer: "version N", then a name per line. The workers
-- of the agent share the listening socket, so an older version is that of a
-- worker which has not asked Redis since; it is ignored. Nil and a reason for a
-- body that is no list.
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

-- To be called once per poll, also after a failed one: settled counts time.
function M.tick()
	quiet = quiet + 1
	if quiet == SETTLED then M.settled = M.version end
end

-- ---- the task: a coroutine of HAProxy, which may yield (filters may not)

-- The body of a complete answer with status 200, else nil and a reason. The
-- agent is asked by HTTP/1.0, so there is always a Content-Length and no chunk.
-- A body that ends early is an error: half a list would end cuts that are still
-- due.
local function read_body(socket)
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

local function fetch_list()
	local host, port = match(ADDRESS, "^%[?([^%[%]]+)%]?:(%d+)$")
	if not host then return nil, "GATEWAY_AGENT is no ADDRESS:PORT" end
	local socket = core.tcp()
	socket:settimeout(TIMEOUT_S)
	local ok, err = socket:connect(host, tonumber(port))
	if not ok then return nil, err or "no connection" end
	socket:send("GET /blocked HTTP/1.0\r\n\r\n")
	local body
	body, err = read_body(socket)
	socket:close()
	if not body then return nil, err or "the answer was cut off" end
	return M.read(body)
end

-- Logs a change of state, not each failure. All threads ask the same agent, so
-- the first one logs for all.
local function log_change(failing, why)
	if core.thread and core.thread > 1 then return end
	if failing then
		core.log(core.warning, "blocked.lua: the agent (" .. ADDRESS ..
			") does not tell who is blocked: " .. tostring(why) ..
			"; running streams are cut by what is known")
	else
		core.log(core.notice, "blocked.lua: the agent (" .. ADDRESS ..
			") tells who is blocked")
	end
end

-- The task itself; never ends. An error in it would end the polling for good,
-- hence pcall.
function M.follow()
	local failing = false
	while true do
		local called, ok, why = pcall(fetch_list)
		if not called then ok, why = nil, ok end
		if failing ~= not ok then
			failing = not ok
			log_change(failing, why)
		end
		M.tick()
		core.msleep(EVERY_MS)
	end
end

return M
