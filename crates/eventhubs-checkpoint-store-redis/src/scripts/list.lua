-- Lists a hash. KEYS: the hash. ARGV: how many records, how many bytes of a value at most.
-- Returns the time, the number of records, and for each record three values: field, version, value.
local function pairs_of_hash(limit)
  if redis.call('HLEN', KEYS[1]) <= limit then return redis.call('HGETALL', KEYS[1]) end
  return redis.call('HSCAN', KEYS[1], 0, 'COUNT', limit)[2]
end

local longest = tonumber(ARGV[2])
local reply = { now(), tostring(redis.call('HLEN', KEYS[1])) }
local values = pairs_of_hash(tonumber(ARGV[1]))
for i = 1, #values, 2 do
  local value = values[i + 1]
  reply[#reply + 1] = values[i]
  reply[#reply + 1] = version_of(value)
  reply[#reply + 1] = #value <= longest and value or ''
end
return reply
