-- ARGV: name, refusal
local name = ARGV[1]
check_intents()
if not is_live(name) then
  return 0
end
local k = key('intent:' .. name)
if redis.call('HGET', k, 'refusal') ~= ARGV[2] then
  redis.call('HSET', k, 'refusal', ARGV[2])
  touch_intent(name)
  wake()
end
return 1
