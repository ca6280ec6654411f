-- blocked: the list of callers whose running streams are cut.
--
-- New requests are refused by reserve.lua, from the hash of each account
-- (tune.lua). This list is polled by all workers of all nodes, so it is one
-- small key.
--
-- KEYS  1 PREFIX:blocked (hash): "consumer:NAME", "app:NAME" or "agent:NAME" ->
--       time of the block in ms; "#" -> version
-- ARGV  list VERSION          VERSION is the one that the caller has
--       put NAME | del NAME
-- ->    list: nil when the version is the same, otherwise "version N" and one
--       line per name; put, del: an empty text, or an error when the list is
--       full
--
-- The version is the time of the last change, not a counter: it also grows when
-- the hash was lost.

local BLOCKED, MAX = KEYS[1], 1000 -- names; BLOCKED_TEXT_MAX has room for them
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
