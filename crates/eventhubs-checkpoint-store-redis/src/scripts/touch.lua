-- Writes records again as they are, so that a WAIT of the same connection is about them too. KEYS: the hash.
-- ARGV: for each record its field and its version. Returns for each record 1 if it still has the version, else 0.
local outcomes = {}
for i = 1, #ARGV, 2 do
  local value = redis.call('HGET', KEYS[1], ARGV[i])
  if value then redis.call('HSET', KEYS[1], ARGV[i], value) end
  outcomes[#outcomes + 1] = value and version_of(value) == ARGV[i + 1] and 1 or 0
end
return outcomes
