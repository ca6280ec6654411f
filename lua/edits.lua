-- edits.lua: the two changes that are made to bodies while they pass.
--
--   client ==request==> Edits ==as decide/adapt wants it==> resource
--   client <==stream=== Strip <==with a usage chunk======== resource
--
-- usage.lua loads this file from its own folder. Nothing here knows HAProxy:
-- bytes come in, and what is to be done goes out, so it can be tested alone.
-- Both work chunk by chunk with bounded memory, because HAProxy shows a body in
-- pieces that end anywhere.
--
-- Edits does not parse: the agent has parsed the body and sends offsets. Strip
-- must parse, because nobody else sees a stream.

local byte, find, match, sub = string.byte, string.find, string.match,
	string.sub

local BACKSLASH, NEWLINE = 92, 10

-- ---- Edits: changes of a request's body

local Edits = {}
Edits.__index = Edits

-- The text of txn.gw.edits: any number of "AT,REMOVE,LENGTH:INSERT", in
-- ascending order of AT, an offset in the body as the client sent it: REMOVE
-- bytes go, the LENGTH bytes of INSERT come in their place. Raises an error for
-- any other text: without its edits the request is not the one that was
-- allowed.
function Edits.new(text)
	local list, p = {}, 1
	while p <= #text do
		local at, remove, n, q = match(text, "^(%d+),(%d+),(%d+):()", p)
		at, remove, n = tonumber(at), tonumber(remove), tonumber(n)
		assert(q and q + n - 1 <= #text, "edits are malformed")
		list[#list + 1] = { at = at, remove = remove,
			insert = sub(text, q, q + n - 1) }
		p = q + n
	end
	return setmetatable({ list = list, first = 1, seen = 0 }, Edits)
end

-- What to do in the next n bytes of the body: a list of { offset, remove,
-- insert }, with offsets in this piece. The last offset comes first, so that no
-- step moves the bytes of a later one. An edit that spans pieces inserts in the
-- first of them.
function Edits:piece(n)
	local from, to = self.seen, self.seen + n
	local steps = {}
	local i = self.first
	while i <= #self.list and self.list[i].at < to do
		local e = self.list[i]
		local start = math.max(e.at, from)
		local stop = math.min(e.at + e.remove, to)
		table.insert(steps, 1, { offset = start - from,
			remove = math.max(0, stop - start),
			insert = e.at >= from and e.insert or "" })
		if e.at + e.remove > to then break end -- the rest: next piece
		i = i + 1
	end
	self.first, self.seen = i, to
	return steps
end

-- Whether all edits were made.
function Edits:done()
	return self.first > #self.list
end

-- ---- Strip: takes the usage chunk out of a stream of events
--
-- The agent asked for it (stream_options.include_usage) and the client did not,
-- so the client must not see it. It is one line `data: {..}` with the empty
-- line that ends the event. A line that cannot be it goes on at once, also in
-- parts: holding back would delay tokens.

-- Bytes of a line that are held back while it may be the chunk. The chunk has a
-- few hundred; a longer line goes on unchanged.
local MAX_HELD = 8192

local Strip = {}
Strip.__index = Strip

function Strip.new()
	-- held     the beginning of a line that may be the chunk
	-- passing  a line has begun that is not; its rest goes on
	-- swallow  the chunk was taken out, its empty line comes next
	return setmetatable({ held = "", passing = false, swallow = false },
		Strip)
end

-- The position behind the JSON value that begins at p; nil when it does not
-- end. Levels are counted rather than types: the value of a bad document is
-- skipped somehow, and then the line is not the chunk.
local function skip_value(s, p)
	local level = 0
	repeat
		p = find(s, '[^%s,:]', p)
		if not p then return nil end
		local c = sub(s, p, p)
		if c == '"' then
			repeat
				p = find(s, '["\\]', p + 1)
				if not p then return nil end
				local escaped = byte(s, p) == BACKSLASH
				if escaped then p = p + 1 end
			until not escaped
			p = p + 1
		elseif c == "{" or c == "[" then
			level, p = level + 1, p + 1
		elseif c == "}" or c == "]" then
			level, p = level - 1, p + 1
		else
			p = find(s, '[%s,:%]}]', p) or #s + 1
		end
	until level <= 0
	return p
end

-- Where the value of a member begins. `p` is behind the brace that opens the
-- object; nil when the object has no such member, or has none yet.
local function member(s, p, name)
	while p do
		local key, value = match(s, '^[%s,]*"([%w_]+)"%s*:%s*()', p)
		if not key then return nil end
		if key == name then return value end
		p = skip_value(s, value)
	end
end

-- Is this line the chunk that include_usage adds (azure.md 4.9): an empty list
-- of choices, and a usage? Azure's first chunk has no choices either, but it
-- has prompt_filter_results, and the client needs it. Two searches for the
-- words come first, because nearly all lines fail them; then the top level of
-- the object is walked, because the words may also be in a text or deeper.
local function is_usage_chunk(line)
	if not find(line, '"choices"%s*:%s*%[%s*%]') then return false end
	if not find(line, '"usage"%s*:%s*{') then return false end
	local p = match(line, "^data:%s*{()")
	local choices, usage
	while p do
		local key, value = match(line, '^[%s,]*"([%w_]+)"%s*:%s*()', p)
		if not key then break end
		if key == "prompt_filter_results" then return false end
		if key == "choices" then
			choices = find(line, "^%[%s*%]", value)
		elseif key == "usage" then
			usage = find(line, "^{", value)
		end
		p = skip_value(line, value)
	end
	return p and choices and usage and true or false
end

-- May a line with this beginning still be the chunk? As soon as a choice
-- begins, which is early in every chunk with a token, it may not.
local function may_be_chunk(part)
	if #part > MAX_HELD then return false end
	if #part < 5 then return part == sub("data:", 1, #part) end
	local first = match(part, "^data:%s*(%S)")
	if first ~= "{" then
		return first == nil and sub(part, 1, 5) == "data:"
	end
	local inside = match(part, '"choices"%s*:%s*%[%s*(%S)')
	return inside == nil or inside == "]"
end

-- What goes on of a whole line, which includes its newline.
function Strip:line(line)
	if self.swallow then
		self.swallow = false
		if line == "\n" or line == "\r\n" then return "" end
	end
	if is_usage_chunk(line) then
		self.swallow, self.found = true, true
		return ""
	end
	return line
end

-- What goes on of the next bytes. Held back is only the beginning of a line
-- that may be the chunk. The first lines are the common case: whole lines
-- without an empty list of choices pass without being split.
function Strip:feed(chunk)
	if self.held == "" and not self.passing and not self.swallow and
	   byte(chunk, -1) == NEWLINE and
	   not find(chunk, '"choices"%s*:%s*%[%s*%]') then
		return chunk
	end
	local s, out, p = self.held .. chunk, {}, 1
	self.held = ""
	while p <= #s do
		local stop = find(s, "\n", p, true)
		local part = sub(s, p, stop)
		if self.passing then
			out[#out + 1] = part
			self.passing = not stop
		elseif stop then
			out[#out + 1] = self:line(part)
		elseif self.swallow and part == "\r" then
			self.held = part
		elseif may_be_chunk(part) then
			self.held = part
		else
			out[#out + 1] = part
			self.passing, self.swallow = true, false
		end
		p = (stop or #s) + 1
	end
	return table.concat(out)
end

-- The stream is over, without a newline at its end: what is held goes on,
-- unless it is the chunk.
function Strip:flush()
	local held = self.held
	self.held = ""
	if held == "" or is_usage_chunk(held) then return "" end
	return held
end

return { Edits = Edits, Strip = Strip, member = member,
	skip_value = skip_value }
