-- tune: read and change the limits of one account at run time.
--
-- KEYS  1 limits of the account (hash)
--       2 not used
--       3 changes by operators (hash)
-- ARGV  list                               everything
--       get FIELD | put FIELD VALUE | del FIELD     of the changes
--       usage LIMIT [FIELD]                counts of a limit, or of one scope
--       forget LIMIT [FIELD]               the same, and delete them
-- ->    list: lines, fields separated by tabs: "set" FIELD VALUE, or "use"
--       FIELD kind count (of a bucket its level); usage, forget: FIELD=TEXT,
--       separated by blanks; get, put, del: the value before, or nil
--
-- Fields of the changes: =LIMIT or =LIMIT:SCOPE with an amount that replaces
-- the configured one; !consumer:NAME, !app:NAME, !agent:NAME for a blocked
-- caller. They do not expire.

local SETTINGS = KEYS[3]
local verb, field = ARGV[1], ARGV[2]

local function pairs_of(key)
	local all, i = redis.call('HGETALL', key), -1
	return function()
		i = i + 2
		return all[i], all[i + 1]
	end
end

-- The text of a fixed window has no limit. 0 will do here, because only the
-- count is listed.
local function list()
	local lines, now = {}, clock_ms()
	for name, value in pairs_of(SETTINGS) do
		lines[#lines + 1] = 'set\t' .. name .. '\t' .. value
	end
	for name, value in pairs_of(LIMITS) do
		local w = parse(value, 0)
		if w then
			w = advance(w, w.kind, w.limit, now)
			lines[#lines + 1] = 'use\t' .. name .. '\t' ..
				int(w.kind) .. '\t' .. int(w.count)
		end
	end
	table.sort(lines)
	return table.concat(lines, '\n')
end

-- Counts of `limit` in all its scopes, or of the field `only`. A field is LIMIT
-- or LIMIT:SCOPE, and names of limits have no colon.
local function usage(limit, only, forget)
	local old = {}
	for name, value in pairs_of(LIMITS) do
		if only and name == only
			or not only and name:match('^[^:]*') == limit then
			old[#old + 1] = name .. '=' .. value
			if forget then redis.call('HDEL', LIMITS, name) end
		end
	end
	table.sort(old)
	return table.concat(old, ' ')
end

if verb == 'list' then return list() end
if verb == 'usage' or verb == 'forget' then
	return usage(field, ARGV[3], verb == 'forget')
end
local old = redis.call('HGET', SETTINGS, field)
if verb == 'put' then redis.call('HSET', SETTINGS, field, ARGV[3]) end
if verb == 'del' then redis.call('HDEL', SETTINGS, field) end
return old
