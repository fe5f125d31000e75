-- ARGV: owner, ttl in ms, ids
local held, owners = want('held', 'zset'), want('owners', 'hash')
local time, kept = now(), {}
for i = 3, #ARGV do
  local id = ARGV[i]
  local till = redis.call('ZSCORE', held, id)
  if till and tonumber(till) > time and redis.call('HGET', owners, id) == ARGV[1] then
    redis.call('ZADD', held, time + tonumber(ARGV[2]), id)
    kept[#kept + 1] = id
  end
end
return kept
