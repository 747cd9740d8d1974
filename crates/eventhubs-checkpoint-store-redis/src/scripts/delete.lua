-- Deletes one record if it has this version. KEYS: the hash. ARGV: the field, the version. Returns 1 if it did.
local value = redis.call('HGET', KEYS[1], ARGV[1])
if not value or version_of(value) ~= ARGV[2] then return 0 end
return redis.call('HDEL', KEYS[1], ARGV[1])
