-- ARGV: name, mode ('x' or 's'), holder, holder escaped. Answers 1, 0, or -1 if the holder is an ended action.
local name, holder = ARGV[1], ARGV[3]
local queue, alone = want('lock-queue:' .. name, 'zset'), want('lock-alone:' .. name, 'zset')
local locks = want('locks-of:' .. ARGV[4], 'set')
if redis.call('TYPE', key('action:' .. ARGV[4])).ok == 'hash'
  and redis.call('HGET', key('action:' .. ARGV[4]), 'final') == '1' then
  return -1
end
local ticket = redis.call('ZSCORE', queue, holder)
if not ticket then
  ticket = following('lock-ticket')
  redis.call('ZADD', queue, ticket, holder)
  if ARGV[2] == 'x' then
    redis.call('ZADD', alone, ticket, holder)
  end
  redis.call('SADD', locks, name)
end
if redis.call('ZSCORE', alone, holder) then
  return redis.call('ZRANK', queue, holder) == 0 and 1 or 0
end
-- One that came to share cannot become alone while others may share with it.
if ARGV[2] == 'x' then
  return 0
end
local first = redis.call('ZRANGE', alone, 0, 0, 'WITHSCORES')
return (#first == 0 or tonumber(first[2]) > tonumber(ticket)) and 1 or 0
