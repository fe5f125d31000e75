-- ARGV: name, uid
local name = ARGV[1]
check_intents()
if not is_live(name) then
  return 0
end
local k = key('intent:' .. name)
local found = redis.call('HMGET', k, 'claim', 'claim_uid')
if found[1] and found[1] ~= '' and found[2] == ARGV[2] then
  redis.call('HSET', k, 'claim', '', 'claim_uid', '')
  touch_intent(name)
  wake()
end
return 1
