-- ARGV: age in ms, how many ended actions may stay, how many may go now. Answers how many went.
local finished, index = want('finished', 'zset'), want('index', 'zset')
local most = tonumber(ARGV[3])
local old = text(now() - tonumber(ARGV[1]))
local ids = redis.call('ZRANGEBYSCORE', finished, '-inf', old, 'LIMIT', 0, most)
local surplus = math.min(redis.call('ZCARD', finished) - tonumber(ARGV[2]), most)
if surplus > #ids then
  ids = redis.call('ZRANGE', finished, 0, surplus - 1)
end
for _, id in ipairs(ids) do
  redis.call('DEL', key('action:' .. id))
  redis.call('ZREM', index, id)
  redis.call('ZREM', finished, id)
end
return #ids
