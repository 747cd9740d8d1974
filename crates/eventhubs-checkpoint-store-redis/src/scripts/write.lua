-- Writes records that are as expected. KEYS: the hash. ARGV: the command to publish with, the channel, and for each
-- record five values: field, expected version ('' for none), new version, the rest of the value, hint ('' for none).
-- Returns for each record: '' if it was not as expected, else the time of the write, with a '+' in front if it has
-- a new owner.
local function owner_of(value)
  return string.match(value, '^%x+\31%d+\31([^\31]*)')
end

local time, outcomes = now(), {}
for i = 3, #ARGV, 5 do
  local field, expected, version, rest, hint = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local current = redis.call('HGET', KEYS[1], field)
  local found = current and version_of(current) or ''
  local outcome = ''
  -- The new version is there already where the client sends the same call twice, because the reply was lost.
  if found == expected or found == version then
    local value = version .. '\31' .. time .. '\31' .. rest
    redis.call('HSET', KEYS[1], field, value)
    outcome = time
    if owner_of(value) ~= (current and owner_of(current) or '') then outcome = '+' .. time end
    -- A user without the right to publish still owns what it has claimed.
    if hint ~= '' then redis.pcall(ARGV[1], ARGV[2], hint) end
  end
  outcomes[#outcomes + 1] = outcome
end
return outcomes
