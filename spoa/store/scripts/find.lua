-- find: whose an object is. Its time begins anew.
--
-- KEYS  the object, twice
-- ARGV  for how many ms without use
-- ->    what bind.lua was told, or nothing

local owner = redis.call('GET', KEYS[1])
if owner then
	redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return owner
