-- usage.lua: what a streamed answer says it has used.
--
--   resource ==answer==> filter lua.usage ==unchanged==> client
--                          |
--                          +-- txn.gw.events       `data:` lines so far
--                          +-- txn.gw.token_ms     from the head of a stream to
--                          |                       its first `delta`
--                          +-- txn.gw.usage        text of the last usage
--                          +-- txn.gw.usage_first  Anthropic's message_start
--
-- In haproxy.cfg:
--   lua-load-per-thread usage.lua    (lua-load crashes 2.6 with two threads)
--   backend s.NAME
--       filter lua.usage
--
-- The same filter makes the changes of edits.lua, which stands beside this
-- file: a filter of its own would cost as much again. The agent asks for them:
--   txn.gw.edits        of the request's body
--   txn.gw.strip_usage  the answer's usage is ours, not the client's
-- And it finds the id of a response, where txn.gw.makes asks for it:
--   txn.gw.object
-- And it cuts what runs when its caller is blocked (blocked.lua, also beside
-- this file): txn.gw.code is caller_blocked then.
--
-- The agent parses the text; here it is only found. A usage counts when it is
-- a member of the outermost object or of one directly in it ("response",
-- "message") and when its line arrived whole. Answers repeat what the caller
-- sent, a schema for instance, and a "usage" somewhere in there would
-- otherwise be charged in place of the real one as soon as the caller hangs
-- up before the end. How deep a usage stands is seen from the brackets that
-- close behind it, so the many bytes before it are only searched for a word.
--
-- Runs on Lua 5.3 and 5.4. Nothing here may yield, and an error would break
-- the transaction, hence pcall around everything HAProxy calls. Except the
-- edits of a request: without them what runs is not what was allowed. And the
-- cut, for which an error is the only way that 2.6, 3.0 and 3.2 have in common.

local MAX_TEXT = 2000 -- bytes of a usage object; the record is 8192
local HEAD = 160      -- bytes from the start that may say message_start
local BEGINNING = 8192 -- bytes that are searched for the id of a response
local ID = '"id"%s*:%s*"(resp_[%w_.-]+)"'
local TAIL = 7        -- bytes kept between chunks: a byte and `"usage`

local folder = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
local edits = dofile(folder .. "edits.lua")
local blocked = dofile(folder .. "blocked.lua")

local byte, find, sub = string.byte, string.find, string.sub

local QUOTE, BACKSLASH, NEWLINE = 34, 92, 10
local OPEN_BRACE, OPEN_BRACKET, COLON = 123, 91, 58

-- ---- reader: bytes in, usage out; knows nothing of HAProxy

-- mode is one of
--   "search"  for the word "usage"
--   "object"  inside the object that follows it
--   "after"   behind that object, until its line (SSE) or body (JSON) ends
-- want is set behind the word: ":" first, then "{".
local Reader = {}
Reader.__index = Reader

function Reader.new(sse)
	return setmetatable({
		sse = sse,
		events = 0,
		head = sse and "" or nil,
		tail = sse and "\n" or "",
		mode = "search",
		blank = sse and "[^ \t\r]" or "[^ \t\r\n]",
		level = 0, -- brackets opened minus closed
	}, Reader)
end

-- The line or the body has ended. Whether what was found in it counts.
function Reader:settle()
	if self.mode == "after" then
		local depth = -self.level
		if depth == 1 or (depth == 2 and self.sse) then
			if depth == 2 and self.anthropic then
				self.usage_first = self.text
			else
				self.usage = self.text
			end
		end
	end
	self.mode, self.want, self.text, self.from = "search", nil, nil, nil
	self.in_string, self.escaped = nil, nil
end

-- One step each: takes the chunk and a position in it, returns the next one,
-- nil when the chunk is used up.

function Reader:search(s, p)
	local i, j = find(s, 'usage"', p, true)
	if not i then return nil end
	if byte(s, i - 1) == QUOTE and byte(s, i - 2) ~= BACKSLASH then
		self.want = ":"
	end
	return j + 1
end

-- Behind the word, before what it names.
function Reader:expect(s, p)
	local i = find(s, self.blank, p)
	if not i then return nil end
	local c = byte(s, i)
	if self.want == ":" and c == COLON then
		self.want = "{"
		return i + 1
	end
	local found = self.want == "{" and c == OPEN_BRACE
	self.want = nil
	if found then
		self.mode, self.level, self.text = "object", 0, ""
		self.from = i
	end
	return i
end

-- Inside a string. `word` is its beginning, enough to tell "usage".
function Reader:string(s, p)
	if self.escaped then
		self.escaped = false
		return p + 1
	end
	local i = find(s, '["\\\n]', p)
	if #self.word < 6 then
		self.word = self.word .. sub(s, p, math.min(i and i - 1 or #s, p + 5))
	end
	if not i then return nil end
	local c = byte(s, i)
	if c == BACKSLASH then
		self.escaped = true
		self.word = self.word .. "\\" -- so it is not the word
		return i + 1
	end
	self.in_string = false
	if c == NEWLINE then return i end -- not JSON; ends the line all the same
	if self.mode == "after" and self.level <= 0 and self.word == "usage" then
		self.want = ":"
	end
	return i + 1
end

-- The usage object is complete, its last byte is at i.
function Reader:object_end(s, i)
	local text = self.text and self.text .. sub(s, self.from, i)
	self.text = text and #text <= MAX_TEXT and text or nil
	self.mode, self.from = "after", nil
end

-- Outside strings, in or behind the object.
function Reader:structure(s, p)
	local i = find(s, '["{}%[%]\n]', p)
	if not i then return nil end
	local c = byte(s, i)
	if c == QUOTE then
		self.in_string, self.word = true, ""
	elseif c == NEWLINE then
		if self.sse then self:settle() end
	elseif c == OPEN_BRACE or c == OPEN_BRACKET then
		self.level = self.level + 1
	else
		self.level = self.level - 1
		if self.mode == "object" and self.level == 0 then
			self:object_end(s, i)
		end
	end
	return i + 1
end

-- An unfinished object: what of it stands in this chunk.
function Reader:keep(s)
	if self.mode ~= "object" then return end
	if self.text then self.text = self.text .. sub(s, self.from) end
	if self.text and #self.text > MAX_TEXT then self.text = nil end
end

-- Lines that begin with `data:` and end behind position n.
function Reader:count(s, n)
	local p = 1
	while true do
		local i, j = find(s, "\ndata:", p, true)
		if not i then return end
		if j > n then self.events = self.events + 1 end
		p = j + 1
	end
end

function Reader:look_at_head(chunk)
	self.head = sub(self.head .. chunk, 1, HEAD)
	if find(self.head, '"type"%s*:%s*"message_start"') then
		self.anthropic = true
	end
	if self.anthropic or #self.head == HEAD then self.head = nil end
end

function Reader:feed(chunk)
	local n = #self.tail
	local s = self.tail .. chunk
	if self.head then self:look_at_head(chunk) end
	local p = n + 1
	if self.mode == "object" then
		self.from = p
	elseif self.mode == "search" and not self.want then
		p = math.max(1, p - 5) -- the word may end in this chunk
	end
	while p and p <= #s do
		if self.want then
			p = self:expect(s, p)
		elseif self.mode == "search" then
			p = self:search(s, p)
		elseif self.in_string then
			p = self:string(s, p)
		else
			p = self:structure(s, p)
		end
	end
	self:keep(s)
	if self.sse then
		self:count(s, n)
		-- what every API calls the pieces of its answer
		self.speaks = self.speaks or find(s, '"delta"', 1, true) ~= nil
	end
	self.tail = sub(s, -TAIL)
end

-- ---- filter: one per stream, between HAProxy and a reader

local Filter = { id = "usage", flags = filter.FLT_CFG_FL_HTX }
Filter.__index = Filter

function Filter:new()
	return setmetatable({ seen = blocked.settled }, Filter)
end

-- ---- the cut

-- The list has changed since this stream has looked at it.
local function look(self, txn)
	self.seen = blocked.version
	if not blocked.has("consumer:", txn:get_var("txn.gw.consumer")) and
	   not blocked.has("app:", txn:get_var("txn.gw.app_scope")) and
	   not blocked.has("agent:", txn:get_var("txn.gw.agent_scope")) then
		return
	end
	txn:set_var("txn.gw.code", "caller_blocked")
	self.seen = -1 -- should HAProxy go on in spite of it
	error("the caller has been blocked: its stream is cut", 0)
end

-- Some streams say nothing for minutes: this one is asked again in a second.
-- That is the time an analyser may take (analyse_exp). When it is over and
-- nobody sets a new one, HAProxy runs in circles until its watchdog ends it,
-- so each call sets one, and the last of a message one that is never over.
local SOON, NEVER = 1000, 10 * 86400 * 1000

local function watch(self, txn)
	if self.seen ~= blocked.version then look(self, txn) end
	filter.wake_time(SOON)
end

local function request_begins(self, txn, msg)
	local text = txn:get_var("txn.gw.edits")
	if not text then return end
	self.edits = edits.Edits.new(text)
	filter.register_data_filter(self, msg.channel)
end

-- HAProxy's own count of the bytes would include what stands behind the body.
local function request_goes_on(self, msg)
	local data = msg:body()
	if not data or data == "" then return end
	for _, step in ipairs(self.edits:piece(#data)) do
		if step.remove > 0 then msg:remove(step.offset, step.remove) end
		if step.insert ~= "" then
			local n = msg:insert(step.insert, step.offset)
			assert(n == #step.insert, "no room to edit a request")
		end
	end
end

local function answer_begins(self, txn, msg)
	-- Read already; and 2.6 has no headers for Lua behind wait-for-body.
	if txn:get_var("txn.gw.by_rules") then return end
	local status = tonumber(msg:get_stline().code) -- comes as a string
	local websocket = status == 101
	if not websocket and (status < 200 or status > 299) then return end
	self.watched = true
	filter.register_data_filter(self, msg.channel)
	if websocket then return end
	local headers = msg:get_headers()
	local kind = headers["content-type"]
	kind = kind and kind[0] and kind[0]:lower() or ""
	local sse = find(kind, "text/event-stream", 1, true) ~= nil
	if not sse and not find(kind, "json", 1, true) then return end
	self.reader = Reader.new(sse)
	if sse then self.began = core.now() end
	-- A stream of a known length cannot become shorter; there are none.
	if sse and not headers["content-length"] and
	   txn:get_var("txn.gw.strip_usage") then
		self.strip = edits.Strip.new()
	end
	-- Whose the response is has to be remembered: its id stands in the first
	-- event, or at the beginning.
	if txn:get_var("txn.gw.makes") == "id" then self.beginning = "" end
end

-- In a string of the caller's the quotes would be escaped.
local function look_for_id(self, txn, data)
	self.beginning = self.beginning .. sub(data, 1, BEGINNING)
	local id = find(self.beginning, ID) and self.beginning:match(ID)
	if id then txn:set_var("txn.gw.object", id) end
	if id or #self.beginning >= BEGINNING then self.beginning = nil end
end

-- HAProxy's clock stands still while one piece passes: exact to a wake-up.
local function note_token(self, txn)
	local t = core.now()
	txn:set_var("txn.gw.token_ms", (t.sec - self.began.sec) * 1000 +
		(t.usec - self.began.usec) // 1000)
	self.began = nil
end

local function strip(self, msg, data)
	local rest = self.strip:feed(data)
	if msg:eom() then rest = rest .. self.strip:flush() end
	if rest == data then return end
	if data ~= "" then msg:remove(0, #data) end
	if rest ~= "" then msg:insert(rest, 0) end
end

-- The usage is read before it is taken out. What is held back at the end of a
-- stream without a last line's end goes on with the end.
local function answer_goes_on(self, txn, msg)
	if not self.reader then return end
	local data = msg:body() or ""
	if data ~= "" then self.reader:feed(data) end
	if self.began and self.reader.speaks then note_token(self, txn) end
	if self.beginning then look_for_id(self, txn, data) end
	if self.strip then strip(self, msg, data) end
end

local function answer_ended(self, txn)
	local r = self.reader
	r:settle()
	if r.sse then txn:set_var("txn.gw.events", r.events) end
	if r.usage then txn:set_var("txn.gw.usage", r.usage) end
	if r.usage_first then txn:set_var("txn.gw.usage_first", r.usage_first) end
end

-- No usage is published after a failure: the agent then keeps its estimate.
local function guard(self, f, txn, msg)
	local ok, err = pcall(f, self, txn, msg)
	if not ok then
		self.reader = nil
		core.log(core.err, "usage.lua: " .. tostring(err) ..
			"; this answer is charged by estimate")
	end
end

function Filter:http_headers(txn, msg)
	if msg:is_resp() then
		guard(self, answer_begins, txn, msg)
	else
		request_begins(self, txn, msg)
	end
	return filter.CONTINUE
end

-- Also without a reader HAProxy wants this one to exist (2.6 crashes).
function Filter:http_payload(txn, msg)
	if msg:is_resp() then
		watch(self, txn)
		guard(self, answer_goes_on, txn, msg)
	elseif self.edits then
		request_goes_on(self, msg)
	end
end

-- Behind 101: what the resource says on a WebSocket, or nothing for a while.
function Filter:tcp_payload(txn, channel)
	if channel:is_resp() then watch(self, txn) end
end

-- The answer may be complete before its request is.
function Filter:http_end(_, msg)
	if self.watched and msg:is_resp() then filter.wake_time(NEVER) end
	return filter.CONTINUE
end

-- Called also when the client hangs up, which http_end is not, and before
-- the record is written.
function Filter:end_analyze(txn, channel)
	if self.reader and channel:is_resp() then
		guard(self, answer_ended, txn)
	end
	return filter.CONTINUE
end

core.register_filter("usage", Filter, function(f) return f end)
core.register_task(blocked.follow)
