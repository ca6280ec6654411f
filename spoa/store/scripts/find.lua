-- find: read the binding of an object and renew its time to live.
--
-- KEYS  1, 2 the object (string), the same key twice
-- ARGV  1 time to live in ms; 0: do not renew
-- ->    the text that bind.lua stored, or nil

local owner = redis.call('GET', KEYS[1])
if owner and ARGV[1] ~= '0' then
	redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return owner
