-- ARGV: name, uid, uid escaped, claim, held, uid that is known dead or ''
local name, uid = ARGV[1], ARGV[2]
check_intents()
if not is_live(name) then
  return 0
end
local k = key('intent:' .. name)
local found = redis.call('HMGET', k, 'hold', 'exclude', 'claim', 'claim_uid', 'claims')
local claims = number(k, 'the claims', found[5])
if found[1] ~= ARGV[5] or string.find(found[2] or '', ',' .. ARGV[3] .. ',', 1, true) then
  return 0
end
local free = not found[3] or found[3] == ''
if free or found[4] ~= uid then
  if not free and found[4] ~= ARGV[6] then
    return 0
  end
  claims = claims + 1
elseif found[3] == ARGV[4] then
  return 1
end
redis.call('HSET', k, 'claim', ARGV[4], 'claim_uid', uid, 'claims', text(claims))
touch_intent(name)
wake()
return 1
