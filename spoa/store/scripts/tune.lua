-- tune: what operators see and change at run time, of one account.
--
-- KEYS  the account's limits (hash), nothing, what operators have set (hash)
-- ARGV  list
--       get FIELD | put FIELD VALUE | del FIELD    of what is set
--       usage | forget LIMIT [FIELD]    of a limit, or of one scope of it
-- ->    list: one line each, tabs between: "set" FIELD VALUE, or "use" FIELD,
--       kind, count (level of a bucket); else the value before, or nothing
--
-- What is set: =LIMIT or =LIMIT:SCOPE, an amount in place of the configured
-- one; !consumer:NAME, !app:NAME, !agent:NAME: blocked. It has no end.

local SETTINGS = KEYS[3]
local verb, field = ARGV[1], ARGV[2]

local function pairs_of(key)
	local all, i = redis.call('HGETALL', key), -1
	return function()
		i = i + 2
		return all[i], all[i + 1]
	end
end

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
