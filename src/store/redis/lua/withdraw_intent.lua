-- ARGV: name, withdrawn intents to keep. Answers the fields, as last, or nothing.
local name = ARGV[1]
check_intents()
local k = want('intent:' .. name, 'hash')
if redis.call('EXISTS', k) == 0 then
  return {}
end
local last = intent_fields(name)
if is_live(name) then
  local action = redis.call('HGET', k, 'action')
  if action then
    want('intents-of:' .. action, 'set')
  end
  withdraw(name, tonumber(ARGV[2]))
  wake()
end
return last
