-- ARGV: where to begin, how many
local rows = {}
local found = redis.call('ZREVRANGEBYSCORE', want('index', 'zset'), ARGV[1], '-inf',
  'WITHSCORES', 'LIMIT', 0, ARGV[2])
for i = 1, #found, 2 do
  local id, seq = found[i], text(tonumber(found[i + 1]))
  local k = key('action:' .. id)
  local kind = redis.call('TYPE', k).ok
  if kind == 'hash' then
    local fields = redis.call('HMGET', k, 'record', 'version', 'fence')
    rows[#rows + 1] = { seq, id, fields[1] or '', fields[2] or '', fields[3] or '' }
  else
    rows[#rows + 1] = { seq, id, 'holds a ' .. kind .. ' where a hash belongs' }
  end
end
return rows
