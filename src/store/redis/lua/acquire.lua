-- ARGV: owner, ttl in ms, limit, name of this attempt
-- Answers rows { id, record, version, fence }, or { id, problem } for one that cannot be read: it is held
-- too, so that it stands in nobody's way until then.
local owner, ttl, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local queue, held = want('queue', 'zset'), want('held', 'zset')
local index, owners = want('index', 'zset'), want('owners', 'hash')
local attempt = want('attempt:' .. ARGV[4], 'list')

local function row(id, take)
  local k = key('action:' .. id)
  local found = redis.call('TYPE', k).ok
  if found ~= 'hash' then
    return { id, found == 'none' and 'is missing' or 'holds a ' .. found .. ' where a hash belongs' }
  end
  local fields = redis.call('HMGET', k, 'record', 'version', 'fence')
  local fence = tonumber(fields[3])
  if not fields[1] or not tonumber(fields[2]) or not fence then
    return { id, 'lacks the record, the version or the fence' }
  end
  if take then
    fence = fence + 1
    redis.call('HSET', k, 'fence', text(fence))
  end
  return { id, fields[1], fields[2], text(fence) }
end

local rows = {}
-- The reply of this very attempt was lost.
local taken = redis.call('LRANGE', attempt, 0, -1)
if #taken > 0 then
  for _, id in ipairs(taken) do
    if redis.call('HGET', owners, id) == owner then
      rows[#rows + 1] = row(id, false)
    end
  end
  return rows
end

local time = now()
for _, id in ipairs(redis.call('ZRANGEBYSCORE', held, '-inf', text(time), 'LIMIT', 0, 1000)) do
  redis.call('ZREM', held, id)
  redis.call('HDEL', owners, id)
  -- One that is not in the index was not submitted as we submit: last.
  redis.call('ZADD', queue, redis.call('ZSCORE', index, id) or '+inf', id)
end
if limit == 0 then
  return rows
end
for _, id in ipairs(redis.call('ZRANGE', queue, 0, limit - 1)) do
  redis.call('ZREM', queue, id)
  redis.call('ZADD', held, time + ttl, id)
  redis.call('HSET', owners, id, owner)
  redis.call('RPUSH', attempt, id)
  rows[#rows + 1] = row(id, true)
end
redis.call('PEXPIRE', attempt, 60000)
return rows
