-- audit: log of the changes that operators made at run time.
--
-- KEYS  1 PREFIX:audit (stream)
-- ARGV  operator, verb, account, what, old value, new value: add an entry;
--       none: read
-- ->    add: id of the entry; read: the newest entries, oldest first, one line
--       each, fields separated by tabs: unix ms and the six arguments

local KEEP, SHOW = 100000, 1000 -- entries kept, about; entries read at most
local names = { 'who', 'verb', 'account', 'what', 'old', 'new' }

if #ARGV > 0 then
	local entry = {}
	for i, name in ipairs(names) do
		entry[#entry + 1] = name
		entry[#entry + 1] = ARGV[i]
	end
	return redis.call('XADD', KEYS[1], 'MAXLEN', '~', KEEP, '*',
		unpack(entry))
end

local lines = {}
for _, e in ipairs(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', SHOW)) do
	local line = { e[1]:match('^%d+') }
	for i = 2, #e[2], 2 do line[#line + 1] = e[2][i] end
	table.insert(lines, 1, table.concat(line, '\t'))
end
return table.concat(lines, '\n')
