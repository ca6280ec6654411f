-- edits.lua: the two changes that are made to bodies while they pass.
--
--   client ==request==> Edits  ==as the agent wants it==> resource
--   client <==stream=== Strip  <==with a usage chunk====  resource
--
-- usage.lua loads this file from its own folder. Pure functions: bytes in,
-- what is to be done out; nothing here knows HAProxy. The agent has read the
-- body and knows the places, so a request is not read here at all.

local byte, find, match, sub = string.byte, string.find, string.match,
	string.sub

local BACKSLASH, NEWLINE = 92, 10

-- ---- Edits: of a request

local Edits = {}
Edits.__index = Edits

-- The text of txn.gw.edits: "AT,REMOVE,LENGTH:INSERT" again and again, in
-- ascending order, AT counted in the body as the client sent it. What is not
-- of this form is an error, and the request must not go on.
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

-- The next n bytes of the body: what to do in them, the last place first, so
-- that no step moves the place of another one. { offset, remove, insert }.
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
		if e.at + e.remove > to then break end -- goes on in the next
		i = i + 1
	end
	self.first, self.seen = i, to
	return steps
end

function Edits:done()
	return self.first > #self.list
end

-- ---- Strip: of an answer, a stream of events

local MAX_HELD = 8192 -- of a line that may be the chunk

local Strip = {}
Strip.__index = Strip

function Strip.new()
	-- held: a line that has begun and may be the chunk; passing: one that
	-- is not; swallow: the chunk's line is gone, its empty line is not.
	return setmetatable({ held = "", passing = false, swallow = false },
		Strip)
end

-- Behind the JSON value that begins at p; nil when it ends nowhere.
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

-- Is this line the chunk that include_usage adds: no choices, and a usage?
-- Azure's first chunk has no choices either but prompt_filter_results.
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

-- May the line that begins so still turn out to be the chunk?
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

-- A whole line, with its end.
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

-- What of the next bytes may go on now. Only a line that has not come whole,
-- and that may be the chunk, is held back.
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

-- The stream is over: what is held and is not the chunk.
function Strip:flush()
	local held = self.held
	self.held = ""
	if held == "" or is_usage_chunk(held) then return "" end
	return held
end

return { Edits = Edits, Strip = Strip }
