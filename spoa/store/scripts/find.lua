-- find: whose an object is. Its time begins anew, unless that is 0.
--
-- KEYS  the object, twice
-- ARGV  for how many ms without use
-- ->    what bind.lua was told, or nothing

local owner = redis.call('GET', KEYS[1])
if owner and ARGV[1] ~= '0' then
	redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return owner
