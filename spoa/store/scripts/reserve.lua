-- reserve: charge a request to all of its limits, or to none.
--
-- KEYS  1 limits of the account (hash)
--       2 record of this request (hash)
--       3 changes by operators (hash, see tune.lua)
-- ARGV  1 life of the record in ms; 2..4 consumer, app and agent of the caller;
--       5 "1" when the request was admitted already (store/lease);
--       then per limit: field, unit, kind, limit, amount
-- ->    status, index of the limit that refused, retry ms, 1 when the record
--       existed before; then per limit: remaining, reset ms, limit in force
--
-- The status is one of enum store_status. STORE_FAILED: settle.lua has
-- cancelled this id before. A request that was admitted already is charged even
-- when a limit is used up (which leaves a debt) or the caller is blocked; the
-- status then only reports STORE_BLOCKED.
--
-- The record has the field n = number of limits, and the fields 0, 1, ... =
-- UNIT:KIND:LIMIT:AMOUNT:PERIOD:FIELD, from which settle.lua knows what to
-- correct. n = "x" marks a cancelled id, n = "s:TOKEN" a settled one; both
-- expire after a minute.

local OK, REFUSED, TOO_LARGE, FAILED, BLOCKED = 0, 1, 2, 4, 5
local SWEEP_FROM = 32 -- fields in the hash; below, sweeping gains nothing
local OPEN_RETRY_MS = 1000 -- WINDOW_RETRY_MS: the end of a stream is unknown

local now = clock_ms()
local admitted = ARGV[5] == '1'
local n = (#ARGV - 5) / 5
local blocked
local fields, charges = {}, {}

for i = 1, n do
	local a = 5 * i + 1
	fields[i] = ARGV[a]
	charges[i] = { unit = ARGV[a + 1], kind = tonumber(ARGV[a + 2]),
		limit = tonumber(ARGV[a + 3]), amount = tonumber(ARGV[a + 4]) }
end

-- Read blocks and changed amounts. Most accounts have none, which costs one
-- EXISTS. The amount of a scope (=LIMIT:SCOPE) comes before that of the limit
-- (=LIMIT).
local function read_settings()
	if redis.call('EXISTS', KEYS[3]) == 0 then return end
	local wanted = { '!consumer:' .. ARGV[2], '!app:' .. ARGV[3],
		'!agent:' .. ARGV[4] }
	for _, field in ipairs(fields) do
		wanted[#wanted + 1] = '=' .. field
		wanted[#wanted + 1] = '=' .. field:match('^[^:]*')
	end
	local found = redis.call('HMGET', KEYS[3], unpack(wanted))
	blocked = found[1] or found[2] or found[3]
	for i, c in ipairs(charges) do
		c.limit = tonumber(found[2 * i + 2] or found[2 * i + 3] or c.limit)
	end
end

local function read_limits()
	local texts = n > 0 and redis.call('HMGET', LIMITS, unpack(fields)) or {}
	for i, c in ipairs(charges) do
		local w = parse(texts[i], c.limit)
		c.is_new = not texts[i]
		-- A bucket whose time is in the future (the clock has stepped
		-- back) is written also without a charge; otherwise it would
		-- not refill until that time.
		c.stepped_back = w and w.kind == 0 and w.at > now
		c.w = advance(w, c.kind, c.limit, now)
	end
end

local function answer(status, refused, retry, before)
	local reply = { status, refused, retry, before }
	for i, c in ipairs(charges) do
		reply[2 + 3 * i] = remaining(c.w)
		reply[3 + 3 * i] = reset_ms(c.w, now)
		reply[4 + 3 * i] = c.limit
	end
	return reply
end

-- Of the limits without room, the one with the longest wait (index from 0) and
-- its time in ms: before that the request cannot pass all limits.
local function longest_wait()
	local refused, longest = nil, -1
	for i, c in ipairs(charges) do
		local short = c.amount - remaining(c.w)
		if short > 0 then
			local ms = c.kind == 0 and wait_ms(c.w, short)
				or c.kind == 4 and OPEN_RETRY_MS
				or reset_ms(c.w, now)
			if ms > longest then refused, longest = i - 1, ms end
		end
	end
	return refused, longest
end

-- Delete the limits that are unused. In a busy account the hash never expires,
-- so limits of scopes that are gone would stay for ever. The sweep reads the
-- whole hash, so it runs only when the number of fields has doubled: 32, 64,
-- and so on.
local function sweep()
	local size = redis.call('HLEN', LIMITS)
	local p = SWEEP_FROM
	while p < size do p = p * 2 end
	if p ~= size then return end
	local all = redis.call('HGETALL', LIMITS)
	for i = 1, #all, 2 do
		local w = parse(all[i + 1], 0)
		if w then
			w = advance(w, w.kind, w.limit, now)
			if (w.kind == 0 and w.count >= w.limit)
				or (w.kind ~= 0 and w.count == 0) then
				redis.call('HDEL', LIMITS, all[i])
			end
		end
	end
end

-- Charge all limits and write the record. The limits are written first: when a
-- later command fails, they stay charged, which is the safe side.
local function take()
	local record, life, grown = { 'n', int(n) }, 0, false
	for i, c in ipairs(charges) do
		local w = c.w
		if w.kind == 4 then
			open_add(w, w.at, c.amount)
		else
			w.count = w.count + (w.kind == 0 and -c.amount or c.amount)
			w.count = min(w.count, COUNT_MAX)
		end
		change(fields[i], w)
		grown = grown or c.is_new
		life = max(life, reset_ms(w, now))
		record[#record + 1] = int(i - 1)
		record[#record + 1] = table.concat({ c.unit, int(c.kind),
			int(c.limit), int(c.amount), int(w.at), fields[i] }, ':')
	end
	write_changed()
	redis.call('HSET', RECORD, unpack(record))
	redis.call('PEXPIRE', RECORD, ARGV[1])
	if n > 0 then keep(life) end
	if grown then sweep() end
end

-- The order is that of store_memory_reserve(): existing record, block, amount
-- above the limit, refusal, charge. A repeated call finds its own record and
-- charges nothing.
read_settings()
read_limits()
local record = redis.call('HGET', RECORD, 'n')
if record == 'x' then return answer(FAILED, 0, 0, 1) end
if admitted then
	if not record then take() end
	return answer(blocked and BLOCKED or OK, 0, 0, record and 1 or 0)
end
if tonumber(record) then return answer(OK, 0, 0, 1) end
if blocked then return answer(BLOCKED, 0, 0, 0) end

for i, c in ipairs(charges) do
	if c.amount > c.limit then return answer(TOO_LARGE, i - 1, 0, 0) end
end

for i, c in ipairs(charges) do
	if c.stepped_back then change(fields[i], c.w) end
end
local refused, retry = longest_wait()
if refused then
	write_changed()
	return answer(REFUSED, refused, retry, 0)
end

take()
return answer(OK, 0, 0, 0)
