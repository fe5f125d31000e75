-- ARGV: revision. Answers { revision, full, { { name, fields }… }, { names withdrawn } }; a row without
-- fields cannot be read.
check_intents()
local since = tonumber(ARGV[1])
local revision = tonumber(redis.call('GET', key('intent-revision')) or '0')
local floor = tonumber(redis.call('GET', key('intent-floor')) or '0') or 0
local full = since == 0 or since < floor or since > revision
local from = full and '-inf' or '(' .. text(since)
local rows = {}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', key('intents'), from, '+inf')) do
  local kind = redis.call('TYPE', key('intent:' .. name)).ok
  if kind == 'hash' then
    rows[#rows + 1] = { name, intent_fields(name) }
  else
    rows[#rows + 1] = { name, {} }
  end
end
local gone = {}
if not full then
  gone = redis.call('ZRANGEBYSCORE', key('intents-gone'), from, '+inf')
end
return { text(revision), full and 1 or 0, rows, gone }
