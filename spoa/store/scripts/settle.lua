-- settle: replace what was reserved by what was used, once.
--
-- KEYS  the account's limits (hash), the record of this request (hash), its
--       ledger (stream)
-- ARGV  used, by unit: requests, tokens, nano-dollars; then, in ms, how long
--       to remember that an unknown id was cancelled (0: not); a token of
--       this settlement, the same when it is sent again; then, when there is
--       something to write down: how many entries the ledger keeps, about,
--       and the text of this one
-- ->    status: 0 done, also when it was this settlement that did it before;
--       3 no such open reservation, and 1 when there is no trace of one
--
-- Cancelling what is unknown matters when the connection broke with a reserve
-- under way: Redis may read that reserve after this. It then finds the mark
-- and takes nothing.
--
-- What was settled leaves its token for a while: whoever lost the answer with
-- the connection asks again and is told that it has counted.

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

-- The first write: when it fails, nothing has changed and all of this can be
-- sent again. So an entry is there exactly when the settlement has counted.
if ARGV[7] then
	redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[6], '*', 'entry', ARGV[7])
end

local now = clock_ms()

-- The limit as it is now, nil when there is nothing to correct: a fixed window
-- that has ended, or a limit that has changed its kind since. One that is not
-- there any more had nothing to remember.
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
