-- usage.lua: the filter for answers that are too long to be held: reads the
-- usage they report while they pass.
--
--   resource ==answer==> filter lua.usage ==unchanged==> client
--                          |
--                          +-- txn.gw.events       `data:` lines so far
--                          +-- txn.gw.token_ms     from the head of a stream to
--                          |                       its first `delta`
--                          +-- txn.gw.usage        text of the last usage
--                          +-- txn.gw.usage_first  Anthropic's message_start
--                                |
--                                +--> usage record (log-format) --> the agent
--
-- In haproxy.cfg:
--   lua-load-per-thread usage.lua    (lua-load crashes 2.6.12 with two threads
--                                     and a Lua filter, haproxy.md 0.12)
--   backend s.NAME
--       filter lua.usage
--
-- WebSockets of the realtime API are read by realtime.lua.
--
-- The filter does four more things, because a second Lua filter would cost as
-- much again (45-70 us of CPU a request, haproxy.md 0.14):
--   txn.gw.edits        set: edits the request's body (edits.lua)
--   txn.gw.strip_usage  set: takes the usage chunk out of a stream (edits.lua)
--   txn.gw.makes        "id": finds the id of a response --> txn.gw.object
--   lua.usage_of        a converter for haproxy.cfg: the usage of a JSON text
--   txn.gw.consumer, app_scope, agent_scope
--                       blocked: cuts the stream (blocked.lua), and sets
--                       txn.gw.code to caller_blocked
--
-- The usage is only found here; the agent parses it. It counts when it is a
-- member of the outermost object, or in a stream of its "response" or
-- "message", and when its line arrived whole. Answers repeat what the caller
-- sent, metadata and schemas for instance: a "usage" in there must not take the
-- place of the real one, wherever either stands. How deep a usage is nested is
-- counted from the brackets that close behind it, so the many bytes before it
-- are only searched for a word.
--
-- Runs on Lua 5.3 and 5.4. Callbacks of a filter must not yield (haproxy.md
-- 5.1). An error in one breaks the transaction, so each runs in pcall, with two
-- exceptions: the edits of a request, because without them the request is not
-- the one that was allowed, and the cut, for which an error is the only way
-- that HAProxy 2.6, 3.0 and 3.2 have in common.

-- Bytes of a usage object; a longer one is not published, and the agent charges
-- by estimate. Anthropic's grows by 250 with each iteration. haproxy.cfg has the
-- same bound, and usage/record.h says how it fits the record that carries it.
local MAX_TEXT = 8000
-- Bytes from the start of an event in which "response" or "message" begins;
-- before it come its type and a number.
local HEAD = 512
-- Bytes from the start of an answer that are searched for the id of a response.
local BEGINNING = 8192
local ID = '^"(resp_[%w_.-]+)"'
-- Bytes kept from one chunk to the next: a byte and `"usage`, so that the word
-- and the quote before it are found when a chunk ends within.
local TAIL = 7

local folder = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
local edits = dofile(folder .. "edits.lua")
local blocked = dofile(folder .. "blocked.lua")
local realtime = dofile(folder .. "realtime.lua")

local byte, find, match, sub = string.byte, string.find, string.match,
	string.sub

local QUOTE, BACKSLASH, NEWLINE = 34, 92, 10
local OPEN_BRACE, OPEN_BRACKET, COLON = 123, 91, 58

-- ---- reader: bytes in, usage out; knows nothing of HAProxy
--
--   search --"usage"--> expect --:{--> object --}--> after --line ends--+
--     ^                   |                                             |
--     +---- no object ----+------------------ settle <------------------+
--
-- mode is one of
--   "search"  looks for the word "usage"
--   "object"  inside the object behind it
--   "after"   behind that object, until its line (SSE) or body (JSON) ends:
--             counts closing brackets, and finds a further "usage" of the line
-- want is set behind the word, in modes "search" and "after": ":", then "{".
local Reader = {}
Reader.__index = Reader

function Reader.new(sse)
	return setmetatable({
		sse = sse,
		events = 0,
		head = "", -- of a line that has begun in an earlier chunk
		tail = sse and "\n" or "",
		mode = "search",
		-- not a blank; in SSE a newline ends the value, too
		blank = sse and "[^ \t\r]" or "[^ \t\r\n]",
		level = 0, -- brackets opened minus closed, from the object on
	}, Reader)
end

-- The line or the body has ended: publishes what was found in it, if it counts.
-- The brackets that closed behind the object are its depth.
function Reader:settle()
	if self.mode == "after" then
		local depth = -self.level
		if depth == 1 or (depth == 2 and self:is_in("response")) then
			self.usage = self.text
		elseif depth == 2 and self:is_in("message") then
			self.usage_first = self.text -- the input; output comes later
		end
	end
	self.mode, self.want, self.text, self.from = "search", nil, nil, nil
	self.in_string, self.escaped, self.line = nil, nil, nil
end

-- Does the line of the usage carry an object of this name? No API has an object
-- beside it.
function Reader:is_in(name)
	local p = self.line and match(self.line, "^data:%s*{()")
	local value = p and edits.member(self.line, p, name)
	return value and byte(self.line, value) == OPEN_BRACE
end

-- The beginning of the line that has position i.
function Reader:line_of(s, i)
	local start = match(sub(s, 1, i), "^.*\n()")
	if start then return sub(s, start, start + HEAD - 1) end
	return sub(self.head .. sub(s, #self.tail + 1), 1, HEAD)
end

-- One step each: takes the chunk and a position in it, and returns the next
-- position, nil when the chunk is used up.

-- The word in quotes. A quote behind a backslash is part of a longer string.
function Reader:search(s, p)
	local i, j = find(s, 'usage"', p, true)
	if not i then return nil end
	if byte(s, i - 1) == QUOTE and byte(s, i - 2) ~= BACKSLASH then
		self.want = ":"
	end
	return j + 1
end

-- Behind the word: a colon and a brace, or it was not a key with an object.
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
		if self.sse and not self.line then
			self.line = self:line_of(s, i)
		end
	end
	return i
end

-- Inside a string; `word` is its first six bytes, enough to recognize "usage".
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
	if c == NEWLINE then return i end -- not JSON, but the line ends here
	if self.mode == "after" and self.level <= 0 and self.word == "usage" then
		self.want = ":"
	end
	return i + 1
end

-- The usage object is complete; its last byte is at i.
function Reader:object_end(s, i)
	local text = self.text and self.text .. sub(s, self.from, i)
	self.text = text and #text <= MAX_TEXT and text or nil
	self.mode, self.from = "after", nil
end

-- Outside strings, in the object or behind it.
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

-- The chunk ends within the object: keeps the part that is in this chunk.
function Reader:keep(s)
	if self.mode ~= "object" then return end
	if self.text then self.text = self.text .. sub(s, self.from) end
	if self.text and #self.text > MAX_TEXT then self.text = nil end
end

-- Counts lines that begin with `data:`. Those whose first bytes are in the
-- tail, up to position n, were counted with the chunk before.
function Reader:count(s, n)
	local p = 1
	while true do
		local i, j = find(s, "\ndata:", p, true)
		if not i then return end
		if j > n then self.events = self.events + 1 end
		p = j + 1
	end
end

-- The chunk may end within a line: keeps how that line begins.
function Reader:keep_head(chunk)
	if not find(chunk, "\n", 1, true) then
		if #self.head < HEAD then
			self.head = sub(self.head .. sub(chunk, 1, HEAD), 1, HEAD)
		end
	elseif byte(chunk, -1) == NEWLINE then
		self.head = ""
	else
		self.head = sub(match(chunk, "\n([^\n]*)$"), 1, HEAD)
	end
end

-- Takes the next bytes of the answer.
function Reader:feed(chunk)
	local n = #self.tail
	local s = self.tail .. chunk
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
		self:keep_head(chunk)
		-- every API names the pieces of its answer so: the first token
		self.speaks = self.speaks or find(s, '"delta"', 1, true) ~= nil
	end
	self.tail = sub(s, -TAIL)
end

-- The usage of a whole JSON text behind a "=", else an empty text.
local function usage_of(text)
	local r = Reader.new(false)
	r:feed(text)
	r:settle()
	return r.usage and "=" .. r.usage or ""
end

-- ---- filter: one object per stream, between HAProxy and a reader

local Filter = { id = "usage", flags = filter.FLT_CFG_FL_HTX }
Filter.__index = Filter

function Filter:new()
	return setmetatable({ seen = blocked.settled }, Filter)
end

-- ---- the cut of a blocked caller's stream

-- To be called when the list has changed since this stream was compared with
-- it.
local function cut_if_blocked(self, txn)
	self.seen = blocked.version
	if not blocked.has("consumer:", txn:get_var("txn.gw.consumer")) and
	   not blocked.has("app:", txn:get_var("txn.gw.app_scope")) and
	   not blocked.has("agent:", txn:get_var("txn.gw.agent_scope")) then
		return
	end
	txn:set_var("txn.gw.code", "caller_blocked")
	self.seen = -1 -- no version: cut again if HAProxy goes on
	error("the caller has been blocked: its stream is cut", 0)
end

-- A stream may be silent for minutes and must be cut all the same, so HAProxy
-- is asked to call the filter again in a second. The time it is told is when
-- its analyser expires (analyse_exp). An expired analyser that sets no new time
-- keeps HAProxy in a busy loop until its watchdog kills it, so every call sets
-- one, and the end of an answer sets one that is never reached.
local SOON, NEVER = 1000, 10 * 86400 * 1000

local function check_blocked(self, txn)
	if self.seen ~= blocked.version then cut_if_blocked(self, txn) end
	filter.wake_time(SOON)
end

local function begin_request(self, txn, msg)
	local text = txn:get_var("txn.gw.edits")
	if not text then return end
	self.edits = edits.Edits.new(text)
	filter.register_data_filter(self, msg.channel)
end

-- The bytes are counted here: HAProxy's own count would include what follows
-- the body. What is inserted must fit its buffer, else the request fails.
local function edit_request(self, msg)
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

local function begin_answer(self, txn, msg)
	-- A short JSON answer, which haproxy.cfg has read; or the beginning of
	-- a long one, whose usage is further behind. Behind wait-for-body 2.6
	-- raises an error when Lua reads headers (haproxy.md 4.5).
	if txn:get_var("txn.gw.by_rules") then
		self.watched = true
		self.reader = Reader.new(false)
		filter.register_data_filter(self, msg.channel)
		return
	end
	local status = tonumber(msg:get_stline().code) -- comes as a string
	local websocket = status == 101
	if not websocket and (status < 200 or status > 299) then return end
	self.watched = true
	filter.register_data_filter(self, msg.channel)
	if websocket then
		self.session = realtime.Session.new(Reader, edits)
		return
	end
	local headers = msg:get_headers()
	local kind = headers["content-type"]
	kind = kind and kind[0] and kind[0]:lower() or ""
	local sse = find(kind, "text/event-stream", 1, true) ~= nil
	if not sse and not find(kind, "json", 1, true) then return end
	self.reader = Reader.new(sse)
	if sse then self.began = core.now() end
	-- An answer with a Content-Length must not become shorter; streams have
	-- none.
	if sse and not headers["content-length"] and
	   txn:get_var("txn.gw.strip_usage") then
		self.strip = edits.Strip.new()
	end
	-- The caller owns the response it makes (decide/ownership). The id is
	-- in the first event, or at the beginning of the object.
	if txn:get_var("txn.gw.makes") == "id" then self.beginning = "" end
end

-- The id of the first event's response, and no other: objects of the caller may
-- be repeated in it and have one, too.
local function response_id(s)
	local p = match(s, "^data:%s*{()") or match(s, "\ndata:%s*{()")
	p = p and edits.member(s, p, "response")
	p = p and match(s, "^{()", p)
	p = p and edits.member(s, p, "id")
	return p and match(s, ID, p)
end

local function find_object_id(self, txn, data)
	self.beginning = sub(self.beginning .. data, 1, BEGINNING)
	local id = response_id(self.beginning)
	if id then txn:set_var("txn.gw.object", id) end
	if id or #self.beginning >= BEGINNING then self.beginning = nil end
end

-- core.now() is the time at which HAProxy woke up, so this is exact to one turn
-- of its loop.
local function publish_token_time(self, txn)
	local t = core.now()
	txn:set_var("txn.gw.token_ms", (t.sec - self.began.sec) * 1000 +
		(t.usec - self.began.usec) // 1000)
	self.began = nil
end

-- At the end of the stream, what is held back of a last line without a newline
-- goes on.
local function strip_usage_chunk(self, msg, data)
	local rest = self.strip:feed(data)
	if msg:eom() then rest = rest .. self.strip:flush() end
	if rest == data then return end
	if data ~= "" then msg:remove(0, #data) end
	if rest ~= "" then msg:insert(rest, 0) end
end

-- The reader gets the bytes before the usage chunk is taken out of them.
local function read_answer(self, txn, msg)
	if not self.reader then return end
	local data = msg:body() or ""
	if data ~= "" then self.reader:feed(data) end
	if self.began and self.reader.speaks then publish_token_time(self, txn) end
	if self.beginning then find_object_id(self, txn, data) end
	if self.strip then strip_usage_chunk(self, msg, data) end
end

local function publish_usage(self, txn)
	local r = self.reader
	r:settle()
	if r.sse then txn:set_var("txn.gw.events", r.events) end
	if r.usage then txn:set_var("txn.gw.usage", r.usage) end
	if r.usage_first then txn:set_var("txn.gw.usage_first", r.usage_first) end
end

-- Calls f so that an error does not break the transaction. No usage is
-- published after one, and the agent charges by estimate; but a session that
-- cannot be read any more has used what was read.
local function call_guarded(self, f, txn, msg)
	local ok, err = pcall(f, self, txn, msg)
	if not ok then
		self.reader, self.session_over = nil, true
		core.log(core.err, "usage.lua: " .. tostring(err) ..
			"; what follows of this answer is not counted")
	end
end

function Filter:http_headers(txn, msg)
	if msg:is_resp() then
		call_guarded(self, begin_answer, txn, msg)
	else
		begin_request(self, txn, msg)
	end
	return filter.CONTINUE
end

-- HAProxy 2.6.12 crashes when a class without http_payload registers as a data
-- filter (haproxy.md 0.12), so it must exist also for streams that are not
-- read.
function Filter:http_payload(txn, msg)
	if msg:is_resp() then
		check_blocked(self, txn)
		call_guarded(self, read_answer, txn, msg)
	elseif self.edits then
		edit_request(self, msg)
	end
end

-- The methods of the channel refuse to work in an HTTP proxy. Those of the
-- message do, also after status 101, as soon as they are told the filter; no
-- document promises that, so tests/e2e/test_realtime.py holds it.
local function read_websocket(self, txn, channel)
	local msg = txn.http_res
	msg.__filter = channel.__filter
	local data = msg:body()
	if data and data ~= "" then self.session:feed(data) end
end

-- After status 101: bytes of a WebSocket, or a call for none in a second.
function Filter:tcp_payload(txn, channel)
	if not channel:is_resp() then return end
	check_blocked(self, txn)
	if self.session and not self.session_over then
		call_guarded(self, read_websocket, txn, channel)
	end
end

local function publish_session(self, txn)
	local usage = self.session:usage()
	if usage then txn:set_var("txn.gw.usage", usage) end
end

-- The answer may be complete while its request is not: its timer must not
-- expire.
function Filter:http_end(_, msg)
	if self.watched and msg:is_resp() then filter.wake_time(NEVER) end
	return filter.CONTINUE
end

-- Unlike http_end this is also called when the client hangs up, and before the
-- usage record is written.
function Filter:end_analyze(txn, channel)
	if self.reader and channel:is_resp() then
		call_guarded(self, publish_usage, txn)
	elseif self.session and channel:is_resp() then
		call_guarded(self, publish_session, txn)
	end
	return filter.CONTINUE
end

core.register_converters("usage_of", usage_of)
core.register_filter("usage", Filter, function(f) return f end)
core.register_task(blocked.follow)
