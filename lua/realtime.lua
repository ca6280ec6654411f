-- realtime.lua: what a session of the realtime API has used.
--
--   resource ==bytes of a WebSocket==> Session ==unchanged==> client
--                                        |
--               frame -> message -> event type -> Reader (usage.lua) -> sums
--
-- usage.lua loads this file from its own folder. Nothing here knows HAProxy.
-- A session says what it has used at the end of each response (response.done)
-- and of each transcription of what the user said, which is billed apart. All
-- of it is added up, member by member, so details (cached, text, audio) stay
-- apart. Messages of other types, above all audio, are passed over without
-- being copied.
--
-- Frames are those of RFC 6455, 5.2, from server to client: not masked, and not
-- compressed, because haproxy.cfg removes the header that offers it.

local byte, find, match, sub = string.byte, string.find, string.match,
	string.sub

local OPEN_BRACE = 123
local CONTINUATION, TEXT, CONTROL = 0, 1, 8
-- Bytes of a message from which its type is read, or it is read to its end.
local HEAD = 128
-- Levels and members of the sums; the API has 3 and about 20.
local MAX_DEPTH, MAX_MEMBERS = 4, 64
local COUNTED = {
	["response.done"] = true,
	["conversation.item.input_audio_transcription.completed"] = true,
}

local Session = {}
Session.__index = Session

-- `Reader` and `edits` are those of usage.lua.
function Session.new(Reader, edits)
	return setmetatable({
		Reader = Reader, edits = edits,
		head = "",    -- of a frame, while it is incomplete
		left = 0,     -- bytes of the frame's payload that are to come
		message = nil, -- first bytes of a message of unknown type
		reader = nil,  -- of a message that counts
		sums = nil, members = 0,
	}, Session)
end

-- ---- sums: the text of a usage, added to a table of the same shape

-- Adds the object that opens before p. Texts and fractions are left out: tokens
-- are integers.
local function add(self, sums, s, p, depth)
	while p do
		local key, at = match(s, '^[%s,]*"([%w_]+)"%s*:%s*()', p)
		if not key then return end
		local n = match(s, "^(%d+)[%s,}]", at)
		local old = sums[key]
		local new = not old and self.members < MAX_MEMBERS
		if byte(s, at) == OPEN_BRACE and depth < MAX_DEPTH and
		   (new or type(old) == "table") then
			sums[key] = old or {}
			add(self, sums[key], s, at + 1, depth + 1)
		elseif n and #n < 16 and (new or math.type(old) == "integer") then
			sums[key] = (old or 0) + math.tointeger(tonumber(n))
		else
			new = false
		end
		if new then self.members = self.members + 1 end
		p = self.edits.skip_value(s, at)
	end
end

-- As JSON, in the order of the names.
local function write(sums)
	local names, out = {}, {}
	for name in pairs(sums) do names[#names + 1] = name end
	table.sort(names)
	for _, name in ipairs(names) do
		local v = sums[name]
		v = type(v) == "table" and write(v) or ("%d"):format(v)
		out[#out + 1] = '"' .. name .. '":' .. v
	end
	return "{" .. table.concat(out, ",") .. "}"
end

-- What was used so far: JSON of the shape of one usage; nil: none was told.
function Session:usage()
	return self.sums and write(self.sums)
end

-- ---- messages

-- The type of the message that begins so; nil when it is not there (yet).
local function type_of(self, s)
	local p = match(s, "^%s*{()")
	p = p and self.edits.member(s, p, "type")
	return p and match(s, '^"([%w_.]+)"', p)
end

-- The reader knows events as lines of a stream, and a message becomes one. In
-- JSON a newline is only ever a blank.
local function read(self, s)
	if find(s, "\n", 1, true) then s = s:gsub("\n", " ") end
	self.reader:feed(s)
end

local function begin_reading(self)
	self.reader = self.Reader.new(true)
	self.reader:feed("data: ")
	read(self, self.message)
	self.message = nil
end

-- Bytes p to q of s belong to the message.
local function take(self, s, p, q)
	if self.reader then
		read(self, sub(s, p, q))
	elseif self.message then
		self.message = self.message ..
			sub(s, p, math.min(q, p + HEAD - 1))
		local kind = type_of(self, self.message)
		if kind and not COUNTED[kind] then
			self.message = nil
		elseif kind or #self.message >= HEAD then
			local took = math.min(q, p + HEAD - 1)
			begin_reading(self)
			read(self, sub(s, took + 1, q))
		end
	end
end

local function end_message(self)
	if self.message and self.message ~= "" then begin_reading(self) end
	local r = self.reader
	self.message, self.reader = nil, nil
	if not r then return end
	r:feed("\n")
	if r.usage then
		self.sums = self.sums or {}
		add(self, self.sums, r.usage, 2, 1)
	end
end

-- ---- frames

-- Length of the head of the frame that begins with s, and of its payload; nil
-- when the head is not complete. A frame of more than 2^53 bytes is no frame.
local function frame_lengths(s)
	local second = byte(s, 2)
	if not second then return nil end
	local n, mask = second & 0x7f, second >= 0x80 and 4 or 0
	local head = 2 + (n == 126 and 2 or n == 127 and 8 or 0)
	if #s < head + mask then return nil end
	if n >= 126 then n = string.unpack(n == 126 and ">I2" or ">i8", s, 3) end
	assert(n >= 0 and n < 1 << 53 and mask == 0, "no frame of a server")
	return head, n
end

local function begin_frame(self, s)
	local first = byte(s, 1)
	local opcode = first & 0x0f
	assert(first & 0x70 == 0, "a compressed frame")
	self.control = opcode >= CONTROL
	self.final = first >= 0x80 and not self.control
	if self.control then return end
	if opcode ~= CONTINUATION then
		self.message = opcode == TEXT and "" or nil
		self.reader = nil
	end
end

-- Takes the next bytes of the WebSocket. Raises an error for what is none: what
-- follows could not be read.
function Session:feed(s)
	if self.head ~= "" then
		s, self.head = self.head .. s, ""
	end
	local p = 1
	while p <= #s do
		if self.left == 0 then
			local head, n = frame_lengths(sub(s, p, p + 13))
			if not head then
				self.head = sub(s, p)
				return
			end
			begin_frame(self, sub(s, p, p))
			self.left, p = n, p + head
		end
		local q = math.min(#s, p + self.left - 1)
		if q >= p and not self.control then take(self, s, p, q) end
		self.left, p = self.left - (q - p + 1), q + 1
		if self.left == 0 and self.final then end_message(self) end
	end
end

return { Session = Session }
