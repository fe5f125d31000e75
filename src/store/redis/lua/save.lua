-- ARGV: id, record, fence, version, mark, final, withdrawn intents to keep, length of the log, events
local id = ARGV[1]
local action = action_of(id)
if not action then
  return { 'missing' }
end
local version = tonumber(ARGV[4])
if action.fence ~= tonumber(ARGV[3]) then
  return { 'fenced' }
end
if action.version == version + 1 and action.mark == ARGV[5] then
  return { 'saved', text(action.version) }
end
if action.version ~= version or action.final then
  return { 'stale' }
end
want('events', 'stream')
want('changes', 'stream')
local intents, locks = {}, {}
if ARGV[6] == '1' then
  want('queue', 'zset')
  want('held', 'zset')
  want('finished', 'zset')
  want('owners', 'hash')
  check_intents()
  intents = redis.call('SMEMBERS', want('intents-of:' .. id, 'set'))
  locks = redis.call('SMEMBERS', want('locks-of:' .. id, 'set'))
  for _, name in ipairs(intents) do
    want('intent:' .. name, 'hash')
  end
  for _, name in ipairs(locks) do
    want('lock-queue:' .. name, 'zset')
    want('lock-alone:' .. name, 'zset')
  end
  table.sort(intents)
end

redis.call('HSET', action.key, 'record', ARGV[2], 'version', text(version + 1),
  'mark', ARGV[5], 'final', ARGV[6])
if ARGV[6] == '1' then
  redis.call('ZREM', key('queue'), id)
  redis.call('ZREM', key('held'), id)
  redis.call('ZADD', key('finished'), now(), id)
  redis.call('HDEL', key('owners'), id)
  for _, name in ipairs(intents) do
    withdraw(name, tonumber(ARGV[7]))
  end
  for _, name in ipairs(locks) do
    leave_lock(name, id, id)
  end
end
append(8)
wake()
return { 'saved', text(version + 1) }
