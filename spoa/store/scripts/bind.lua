-- bind: an object belongs to whom it was made for, and stays so until it is
-- deleted.
--
-- KEYS  the object, twice
-- ARGV  whose it is; for how many ms without use, or 0: it is deleted, when
--       what is known of it begins with the first
-- ->    {1}: so it is; {0}: it is somebody else's

local key = KEYS[1]
if ARGV[2] == '0' then
	local known = redis.call('GET', key)
	if not known then
		return { 1 }
	end
	if string.sub(known, 1, #ARGV[1]) ~= ARGV[1] then
		return { 0 }
	end
	redis.call('DEL', key)
	return { 1 }
end
if redis.call('SET', key, ARGV[1], 'NX', 'PX', ARGV[2]) then
	return { 1 }
end
return { redis.call('GET', key) == ARGV[1] and 1 or 0 }
