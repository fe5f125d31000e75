-- ARGV: id, record, final, key or '', fingerprint, retention in ms, version, fence, length of the log, events
local id, record, final, asked = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local k = want('action:' .. id, 'hash')
want('index', 'zset')
want('queue', 'zset')
want('finished', 'zset')
want('events', 'stream')
want('changes', 'stream')
local idem
if asked ~= '' then
  idem = want('idem:' .. asked, 'string')
  local known = redis.call('GET', idem)
  if known then
    local holder, fingerprint = string.match(known, '^(%x+) (.*)$')
    if not holder then
      damaged(idem, 'names no action')
    end
    if holder ~= id then
      return { fingerprint == ARGV[5] and 'replayed' or 'mismatch', holder }
    end
  end
end
if redis.call('EXISTS', k) == 1 then
  return { 'new', id }
end
local seq = following('sequence')
redis.call('HSET', k, 'record', record, 'version', ARGV[7], 'fence', ARGV[8], 'final', final, 'mark', '')
redis.call('ZADD', key('index'), seq, id)
if final == '0' then
  redis.call('ZADD', key('queue'), seq, id)
else
  redis.call('ZADD', key('finished'), now(), id)
end
if idem then
  redis.call('SET', idem, id .. ' ' .. ARGV[5], 'PX', ARGV[6])
end
append(9)
wake()
return { 'new', id }
