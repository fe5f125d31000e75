-- ARGV: owner, ids
local held, owners = want('held', 'zset'), want('owners', 'hash')
local queue, index = want('queue', 'zset'), want('index', 'zset')
want('changes', 'stream')
local let_go = false
for i = 2, #ARGV do
  local id = ARGV[i]
  if redis.call('HGET', owners, id) == ARGV[1] then
    redis.call('ZREM', held, id)
    redis.call('HDEL', owners, id)
    redis.call('ZADD', queue, redis.call('ZSCORE', index, id) or '+inf', id)
    let_go = true
  end
end
if let_go then
  wake()
end
return 1
