-- In front of reserve.lua and settle.lua when they are loaded: one limit as
-- text, and the same sums as store/window.c.
--
-- A field of the account's hash is one limit:
--   0:LEVEL:FRAC:TIME:LIMIT   minute, a token bucket
--   K:PERIOD:USED             hour 1, day 2, month 3: a fixed UTC window
--   4:SLOT:N,N,..             what is open, by the slot it was taken in; of
--                             slots before these nothing can be open any more
--
-- Numbers are doubles, exact up to 2^53. They are printed with %d, never with
-- `..`, which rounds to 14 digits.

local LIMITS, RECORD = KEYS[1], KEYS[2]
local MINUTE, HOUR, DAY = 60000, 3600000, 86400000
local SLOT, SLOTS = 900000, 9 -- a record's life, and the slot it began in
local COUNT_MAX = 4000000000000000
local DEBT_MINUTES = 1000000
local SLACK_MS = 1000 -- that a key lives longer than it must
local floor, max, min = math.floor, math.max, math.min

local function int(x)
	return string.format('%d', x)
end

local function clock_ms()
	local t = redis.call('TIME')
	return tonumber(t[1]) * 1000 + floor(tonumber(t[2]) / 1000)
end

-- Days from 1970 to the first of a month (year * 12 + 0..11); years begin in
-- March here, so that the leap day is the last of its year.
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

-- What a bucket gains in `ms`: whole units, and the rest in 1/60000.
local function gain(w, ms)
	local rest = w.limit % MINUTE
	local parts = rest * ms + w.frac
	local whole = floor(parts / MINUTE)
	return (w.limit - rest) / MINUTE * ms + whole, parts - whole * MINUTE
end

-- Milliseconds until a bucket has gained `need`. The division may be off by
-- one; gain() decides.
local function wait_ms(w, need)
	if need <= 0 or w.limit <= 0 then return 0 end
	local ms = floor((need - w.frac / MINUTE) / w.limit * MINUTE)
	ms = max(0, ms)
	while gain(w, ms) < need do ms = ms + 1 end
	while ms > 0 and gain(w, ms - 1) >= need do ms = ms - 1 end
	return ms
end

-- Keep the level between the deepest debt and full.
local function bound(w)
	if w.count >= w.limit then w.count, w.frac = w.limit, 0 end
	w.count = max(w.count, -min(w.limit * DEBT_MINUTES, COUNT_MAX))
end

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

local function fresh(kind, limit, now)
	if kind == 0 then
		return { kind = 0, limit = limit, count = limit, frac = 0, at = now }
	end
	return { kind = kind, limit = limit, count = 0,
		at = period_of(kind, now), open = {} }
end

-- Slots are numbered from 1970, and kept in a ring.
local function open_add(w, slot, amount)
	local i = slot % SLOTS
	local was = w.open[i] or 0
	w.open[i] = max(0, was + amount)
	w.count = w.count + w.open[i] - was
end

-- The slots that come into use again hold what nobody gave back.
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

-- The limit in `text` as it was written; nil when there is none that can be
-- read. `kind` and `limit` fill in what a window's text does not say.
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

-- Bring it to `now` under what may be a new limit.
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

local function text_of(w)
	if w.kind == 0 then
		return '0:' .. int(w.count) .. ':' .. int(w.frac) .. ':' ..
			int(w.at) .. ':' .. int(w.limit)
	end
	if w.kind == 4 then return '4:' .. int(w.at) .. ':' .. open_text(w) end
	return int(w.kind) .. ':' .. int(w.at) .. ':' .. int(w.count)
end

-- Limits that have changed: kept together and written in one call.
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

-- The hash lives as long as its longest limit remembers something: never
-- shorten it.
local function keep(ms)
	ms = ms + SLACK_MS
	if redis.call('PTTL', LIMITS) < ms then
		redis.call('PEXPIRE', LIMITS, int(ms))
	end
end
