-- blocked: whose running streams are to be cut. Whom new requests are refused
-- is in the accounts (tune.lua); this is what every node asks for all the time,
-- so it is one small key.
--
-- KEYS  the blocked (hash): "consumer:NAME", "app:NAME" or "agent:NAME" to the
--       time in ms; "#" to the version
-- ARGV  list VERSION      of what is known already
--       put NAME | del NAME
-- ->    list: nothing when it is still that version, else "version N" and the
--       names, a line each
--
-- A version is the time of the last change, so it also grows when the hash was
-- lost.

local BLOCKED, MAX = KEYS[1], 1000
local verb, what = ARGV[1], ARGV[2]
local version = redis.call('HGET', BLOCKED, '#') or '0'

if verb == 'list' then
	if version == what then return false end
	local names = redis.call('HKEYS', BLOCKED)
	local lines = {}
	for _, name in ipairs(names) do
		if name ~= '#' then lines[#lines + 1] = name .. '\n' end
	end
	table.sort(lines)
	return 'version ' .. version .. '\n' .. table.concat(lines)
end

if verb == 'put' and redis.call('HLEN', BLOCKED) > MAX
	and redis.call('HEXISTS', BLOCKED, what) == 0 then
	return redis.error_reply('ERR ' .. MAX ..
		' callers are blocked already: unblock some')
end
local now = clock_ms()
redis.call('HSET', BLOCKED, '#', int(max(now, tonumber(version) + 1)))
if verb == 'put' then
	redis.call('HSET', BLOCKED, what, int(now))
else
	redis.call('HDEL', BLOCKED, what)
end
return ''
