-- bind: store the owner of an object, or delete the object.
--
-- The first binding is final: another text for the same id is refused until the
-- owner deletes it.
--
-- KEYS  1, 2 the object (string), the same key twice
-- ARGV  1 text of the object, see store/objects.c; 2 time to live in ms.
--       With a time to live of 0: 1 is "OWNER\n", and the object is deleted
--       when its text begins with that
-- ->    {1}: stored, or deleted, also when it was so before;
--       {0}: another owner has the id

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
