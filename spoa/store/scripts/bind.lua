-- bind: an object belongs to whom it was made for, and stays so.
--
-- KEYS  the object, twice
-- ARGV  whose it is; for how many ms without use
-- ->    {1}: so it is; {0}: it is somebody else's

local key = KEYS[1]
if redis.call('SET', key, ARGV[1], 'NX', 'PX', ARGV[2]) then
	return { 1 }
end
return { redis.call('GET', key) == ARGV[1] and 1 or 0 }
