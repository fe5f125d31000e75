-- ARGV: name, node, hold
local name = ARGV[1]
check_intents()
if not is_live(name) then
  return 0
end
local k = key('intent:' .. name)
local now_there = redis.call('HMGET', k, 'node', 'hold')
if now_there[1] ~= ARGV[2] or now_there[2] ~= ARGV[3] then
  redis.call('HSET', k, 'node', ARGV[2], 'hold', ARGV[3])
  redis.call('HSET', k, 'refusal', '')
  touch_intent(name)
  wake()
end
return 1
