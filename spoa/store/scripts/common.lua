-- common: the arithmetic of one limit, the same as store/window.c.
--
-- This text is put in front of every script when it is loaded (store/scripts),
-- because a Redis script cannot include another one. A change here needs the
-- same change in window.c; tests/unit/test_store_model.c compares both.
--
-- A field of the hash PREFIX:{ACCOUNT}:limits is one limit of one scope. The
-- first number is its kind, enum limit_window of conf/policy.h:
--   0:LEVEL:FRAC:TIME:LIMIT   minute: token bucket, level at a time in ms
--   K:PERIOD:USED             1 hour, 2 day, 3 month: fixed window in UTC,
--                             numbered from 1970
--   4:SLOT:N,N,..             concurrency: amounts in flight per slot of 15
--                             minutes, in a ring of 9; SLOT is the newest one
--
-- Numbers are doubles, which are exact up to 2^53. They are printed with %d,
-- never with `..`, which rounds to 14 digits.

local LIMITS, RECORD = KEYS[1], KEYS[2]
local MINUTE, HOUR, DAY = 60000, 3600000, 86400000
local SLOT, SLOTS = 900000, 9 -- 8 slots are the life of a record, 2 h; one
                              -- more is the slot in which it began
local COUNT_MAX = 4000000000000000 -- bounds of window.h
local DEBT_MINUTES = 1000000
local SLACK_MS = 1000 -- added to the life of a key, against rounding
local floor, max, min = math.floor, math.max, math.min

local function int(x)
	return string.format('%d', x)
end

-- The clock of Redis is the only one that counts: nodes may differ.
local function clock_ms()
	local t = redis.call('TIME')
	return tonumber(t[1]) * 1000 + floor(tonumber(t[2]) / 1000)
end

-- Days from 1970-01-01 to the first of a month (year * 12 + 0..11). The year is
-- shifted to begin in March, so that the leap day is its last day.
local function month_start(month)
	local year, m = floor((month - 2) / 12), (month - 2) % 12
	local leap_days = floor(year / 4) - floor(year / 100)
		+ floor(year / 400)
	return 365 * year + leap_days + floor((153 * m + 2) / 5) - 719468
end

local function period_of(kind, now)
	if kind == 1 then return floor(now / HOUR) end
	if kind == 4 then return floor(now / SLOT) end
	local day = floor(now / DAY)
	if kind == 2 then return day end
	local month = 1970 * 12 + floor(day * 120000 / 3652425)
	while month_start(month + 1) <= day do month = month + 1 end
	while month_start(month) > day do month = month - 1 end
	return month
end

local function period_end(kind, period)
	if kind == 1 then return (period + 1) * HOUR end
	if kind == 4 then return (period + SLOTS) * SLOT end
	if kind == 2 then return (period + 1) * DAY end
	return month_start(period + 1) * DAY
end

-- The refill of a bucket in `ms`: whole units, and the rest in 1/60000 of one.
-- limit * ms can pass 2^53, so the limit is split into a multiple of 60000,
-- whose refill per ms is a whole number, and a rest below 60000.
local function gain(w, ms)
	local rest = w.limit % MINUTE
	local parts = rest * ms + w.frac
	local whole = floor(parts / MINUTE)
	return (w.limit - rest) / MINUTE * ms + whole, parts - whole * MINUTE
end

-- Milliseconds until a bucket has gained `need` units. The division can be off
-- by one because of rounding; gain() is exact and corrects it.
local function wait_ms(w, need)
	if need <= 0 or w.limit <= 0 then return 0 end
	local ms = floor((need - w.frac / MINUTE) / w.limit * MINUTE)
	ms = max(0, ms)
	while gain(w, ms) < need do ms = ms + 1 end
	while ms > 0 and gain(w, ms - 1) >= need do ms = ms - 1 end
	return ms
end

-- Keep the level of a bucket between the deepest debt and full.
local function bound(w)
	if w.count >= w.limit then w.count, w.frac = w.limit, 0 end
	w.count = max(w.count, -min(w.limit * DEBT_MINUTES, COUNT_MAX))
end

-- A clock that has stepped back counts as no time passing.
local function refill(w, now)
	local passed = max(0, now - w.at)
	bound(w)
	w.at = now
	if passed >= wait_ms(w, w.limit - w.count) then
		w.count, w.frac = w.limit, 0
	else
		local whole, frac = gain(w, passed)
		w.count, w.frac = w.count + whole, frac
	end
end

-- A limit that nobody has used.
local function fresh(kind, limit, now)
	if kind == 0 then
		return { kind = 0, limit = limit, count = limit, frac = 0, at = now }
	end
	return { kind = kind, limit = limit, count = 0,
		at = period_of(kind, now), open = {} }
end

-- Add to the slot with this number; the ring has it at number modulo SLOTS. A
-- slot does not become negative.
local function open_add(w, slot, amount)
	local i = slot % SLOTS
	local was = w.open[i] or 0
	w.open[i] = max(0, was + amount)
	w.count = w.count + w.open[i] - was
end

-- Start the slots up to `slot`. A slot that is reused holds reservations that
-- were never settled, and they expire here.
local function open_advance(w, slot)
	for s = w.at + 1, min(slot, w.at + SLOTS) do
		open_add(w, s, -(w.open[s % SLOTS] or 0))
	end
	w.at = max(w.at, slot)
end

local function open_parse(at, list, limit)
	local w = { kind = 4, limit = limit, count = 0, at = tonumber(at),
		open = {} }
	local i = 0
	for n in list:gmatch('%d+') do
		open_add(w, i, tonumber(n))
		i = i + 1
	end
	return w
end

local function open_text(w)
	local list = {}
	for i = 1, SLOTS do list[i] = int(w.open[i - 1] or 0) end
	return table.concat(list, ',')
end

-- Read a limit from its text; nil when there is none, or when the text has
-- another form (it then counts as unused). `limit` is the amount for the kinds
-- whose text does not contain it.
local function parse(text, limit)
	if not text then return nil end
	local level, frac, at, cap =
		text:match('^0:(%-?%d+):(%d+):(%d+):(%d+)$')
	if level then
		return { kind = 0, limit = tonumber(cap), count = tonumber(level),
			frac = tonumber(frac), at = tonumber(at) }
	end
	local slot, open = text:match('^4:(%d+):([%d,]+)$')
	if slot then return open_parse(slot, open, limit) end
	local kind, period, used = text:match('^([123]):(%d+):(%d+)$')
	if not kind then return nil end
	return { kind = tonumber(kind), limit = limit, count = tonumber(used),
		at = tonumber(period) }
end

-- Advance a limit to `now`. `kind` and `limit` are those in force; a limit
-- whose kind has changed starts unused.
local function advance(w, kind, limit, now)
	if not w or w.kind ~= kind then return fresh(kind, limit, now) end
	w.limit = limit
	if kind == 0 then
		refill(w, now)
	elseif kind == 4 then
		open_advance(w, period_of(kind, now))
	else
		local period = period_of(kind, now)
		if period > w.at then w.at, w.count = period, 0 end
	end
	return w
end

local function remaining(w)
	if w.kind == 0 then return w.count end
	return w.limit - w.count
end

local function reset_ms(w, now)
	if w.kind == 0 then return wait_ms(w, w.limit - w.count) end
	if w.kind == 4 and w.count == 0 then return 0 end
	return period_end(w.kind, w.at) - now
end

-- The text of a limit, the reverse of parse().
local function text_of(w)
	if w.kind == 0 then
		return '0:' .. int(w.count) .. ':' .. int(w.frac) .. ':' ..
			int(w.at) .. ':' .. int(w.limit)
	end
	if w.kind == 4 then return '4:' .. int(w.at) .. ':' .. open_text(w) end
	return int(w.kind) .. ':' .. int(w.at) .. ':' .. int(w.count)
end

-- Changed limits are collected and written with one HSET.
local changed = {}

local function change(field, w)
	changed[#changed + 1] = field
	changed[#changed + 1] = text_of(w)
end

local function write_changed()
	if #changed == 0 then return end
	redis.call('HSET', LIMITS, unpack(changed))
	changed = {}
end

-- Let the hash of limits live for at least `ms`: the longest time until one of
-- its limits is unused again. The expiry is never shortened, because another
-- limit may need it.
local function keep(ms)
	ms = ms + SLACK_MS
	if redis.call('PTTL', LIMITS) < ms then
		redis.call('PEXPIRE', LIMITS, int(ms))
	end
end
