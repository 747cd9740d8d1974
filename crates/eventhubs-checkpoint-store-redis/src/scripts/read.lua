-- Reads one record. KEYS: the hash. ARGV: the field, how many bytes of the value at most.
-- Returns nothing if there is none, else the version and the value.
local value = redis.call('HGET', KEYS[1], ARGV[1])
if not value then return {} end
return { version_of(value), #value <= tonumber(ARGV[2]) and value or '' }
