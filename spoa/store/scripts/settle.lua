-- settle: replace the reserved amounts of a request by the real use, once.
--
-- KEYS  1 limits of the account (hash)
--       2 record of this request (hash)
--       3 ledger of the account (stream)
-- ARGV  1..3 real use: requests, tokens, nano-dollars;
--       4 ms for which an unknown id is marked as cancelled (0: no mark);
--       5 token of this settle, the same when it is sent again;
--       6 number of entries that the ledger keeps, about, and 7 the text of
--       this entry; both absent without a ledger
-- ->    {0}: done, also when this token has settled it before;
--       {3}: no open reservation with this id;
--       {3, 1}: the same, and no mark under the id either
--
-- The mark of a cancelled id is for a reserve that was in flight when the
-- connection broke. Redis may execute that reserve after this call; it finds
-- the mark and charges nothing.
--
-- A settled record is replaced by the token for a minute. A node that lost the
-- answer with its connection repeats the settle and gets the answer again.

local OK, UNKNOWN = 0, 3
local SETTLED = 's:' .. ARGV[5]
local SETTLED_MS = 60000

local record = redis.call('HGETALL', RECORD)
if #record == 0 then
	if tonumber(ARGV[4]) > 0 then
		redis.call('HSET', RECORD, 'n', 'x')
		redis.call('PEXPIRE', RECORD, ARGV[4])
	end
	return { UNKNOWN, 1 }
end

local fields, charges = {}, {}
for i = 1, #record, 2 do
	if record[i] ~= 'n' then
		local unit, kind, limit, amount, at, field = record[i + 1]:match(
			'^(%d):(%d):(%d+):(%d+):(%d+):(.*)$')
		fields[#fields + 1] = field
		charges[#charges + 1] = { used = tonumber(ARGV[unit + 1]),
			kind = tonumber(kind), limit = tonumber(limit),
			amount = tonumber(amount), at = tonumber(at) }
	elseif record[i + 1] == SETTLED then
		return { OK }
	elseif not tonumber(record[i + 1]) then
		return { UNKNOWN }
	end
end

-- XADD is the first write, because it is the one that can fail (wrong type of
-- key, OOM). Nothing has changed then and the settle can be repeated. So an
-- entry exists exactly when the settle took effect.
if ARGV[7] then
	redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[6], '*', 'entry', ARGV[7])
end

local now = clock_ms()

-- The limit at `now`, nil when there is nothing to correct: its fixed window or
-- slot has ended, or a reload has changed its kind. A field that does not exist
-- any more was unused, see sweep() in reserve.lua.
local function current(c, text)
	local w = parse(text, c.limit) or fresh(c.kind, c.limit, now)
	if w.kind ~= c.kind then return nil end
	w = advance(w, w.kind, w.limit, now)
	if w.kind == 4 then
		local known = c.at <= w.at and c.at > w.at - SLOTS
		return known and w or nil
	end
	if w.kind ~= 0 and w.at ~= c.at then return nil end
	return w
end

local texts = #fields > 0 and redis.call('HMGET', LIMITS, unpack(fields)) or {}
local life
for i, c in ipairs(charges) do
	local w = current(c, texts[i])
	if w then
		if w.kind == 0 then
			w.count = w.count + c.amount - c.used
			bound(w)
		elseif w.kind == 4 then
			open_add(w, c.at, -c.amount)
		else
			w.count = max(0, w.count + c.used - c.amount)
			w.count = min(w.count, COUNT_MAX)
		end
		change(fields[i], w)
		life = max(life or 0, reset_ms(w, now))
	end
end
write_changed()
if life then keep(life) end
redis.call('DEL', RECORD)
redis.call('HSET', RECORD, 'n', SETTLED)
redis.call('PEXPIRE', RECORD, SETTLED_MS)
return { OK }
