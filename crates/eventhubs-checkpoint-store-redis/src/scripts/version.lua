-- The version of a value: its first field. A value without one is not of this store, and its hash is as good.
local function version_of(value)
  return string.match(value, '^(%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x)\31') or redis.sha1hex(value)
end

-- Microseconds since 1970 as text, since a number of Lua is printed with 14 digits.
local function now()
  local time = redis.call('TIME')
  return time[1] .. string.format('%06d', time[2])
end
