-- shared_key: one random key that all nodes have.
--
-- KEYS  1 PREFIX:ticket-key (string)
-- ARGV  HEX   the key that the caller has, or a new random one
-- ->    the key in force: the caller's own where there was none
--
-- A node offers the key that it uses already, so that one which was lost
-- (FLUSHALL) comes back the same.

redis.call('SET', KEYS[1], ARGV[1], 'NX')
return redis.call('GET', KEYS[1])
