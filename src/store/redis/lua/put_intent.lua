-- ARGV: name, action, base, node, hold, exclude, claim, uid of the claim, claims, refusal
-- Answers 1, or -1 if the action has ended.
local name = ARGV[1]
check_intents()
local k = want('intent:' .. name, 'hash')
local of = want('intents-of:' .. ARGV[2], 'set')
local action = action_of(ARGV[2])
if action and action.final then
  return -1
end
if is_live(name) then
  return 1
end
redis.call('DEL', k)
redis.call('HSET', k, 'action', ARGV[2], 'base', ARGV[3], 'node', ARGV[4], 'hold', ARGV[5],
  'exclude', ARGV[6], 'claim', ARGV[7], 'claim_uid', ARGV[8], 'claims', ARGV[9], 'refusal', ARGV[10])
redis.call('SADD', of, name)
redis.call('ZREM', key('intents-gone'), name)
touch_intent(name)
wake()
return 1
