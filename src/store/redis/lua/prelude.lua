-- Stands before every script. KEYS[1] is the prefix with its hash tag, `wam:{wam}`: every key hangs on
-- it, so that a script touches one slot whatever it touches.
--
-- Redis does not undo a script that fails half-way. So a script first looks at all keys that it will
-- write (`want`, `number`), and only then writes.

local function key(name)
  return KEYS[1] .. ':' .. name
end

local function damaged(k, problem)
  error({ err = 'CORRUPT ' .. k .. ' ' .. problem })
end

-- The key, if it is absent or of this type.
local function want(name, kind)
  local k = key(name)
  local found = redis.call('TYPE', k).ok
  if found ~= 'none' and found ~= kind then
    damaged(k, 'holds a ' .. found .. ' where a ' .. kind .. ' belongs')
  end
  return k
end

local function number(k, what, value)
  local n = tonumber(value)
  if not n then
    damaged(k, 'holds no number as ' .. what)
  end
  return n
end

local function text(n)
  return string.format('%.0f', n)
end

-- Milliseconds of the server's clock, the only one that leases are measured by.
local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- The number after the last one given out under this name.
local function following(name)
  local k = want(name, 'string')
  local last = redis.call('GET', k)
  if last then
    number(k, 'a counter', last)
  end
  return redis.call('INCR', k)
end

-- Events stand in ARGV from `first` on: id, kind, body; before them the length that the log may have.
local function append(first)
  local log = key('events')
  for i = first + 1, #ARGV, 3 do
    redis.call('XADD', log, 'MAXLEN', '~', ARGV[first], '*',
      'id', ARGV[i], 'kind', ARGV[i + 1], 'body', ARGV[i + 2])
  end
end

local function wake()
  redis.call('XADD', key('changes'), 'MAXLEN', '~', '100', '*', 'c', '1')
end

-- What an action has, or nil if the key is absent.
local function action_of(id)
  local k = want('action:' .. id, 'hash')
  local found = redis.call('HMGET', k, 'fence', 'version', 'final', 'mark')
  if not found[1] then
    if redis.call('EXISTS', k) == 1 then
      damaged(k, 'lacks the fence')
    end
    return nil
  end
  return {
    key = k,
    fence = number(k, 'the fence', found[1]),
    version = number(k, 'the version', found[2]),
    final = found[3] == '1',
    mark = found[4],
  }
end

local function check_intents()
  want('intents', 'zset')
  want('intents-gone', 'zset')
  want('intent-floor', 'string')
  want('changes', 'stream')
  local k = want('intent-revision', 'string')
  local last = redis.call('GET', k)
  if last then
    number(k, 'a counter', last)
  end
end

-- A revision starts at the time, so that after a loss of everything it is past all that were.
local function next_revision()
  local k = key('intent-revision')
  if redis.call('EXISTS', k) == 0 then
    local start = text(now())
    redis.call('SET', k, start)
    redis.call('SET', key('intent-floor'), start)
  end
  return redis.call('INCR', k)
end

local function is_live(name)
  return redis.call('ZSCORE', key('intents'), name) and
    redis.call('EXISTS', want('intent:' .. name, 'hash')) == 1
end

local function touch_intent(name)
  redis.call('ZADD', key('intents'), next_revision(), name)
end

-- Takes an intent off, and forgets the oldest of those taken off beyond `keep`.
local function withdraw(name, keep)
  local action = redis.call('HGET', key('intent:' .. name), 'action')
  redis.call('ZREM', key('intents'), name)
  redis.call('ZADD', key('intents-gone'), next_revision(), name)
  if action then
    redis.call('SREM', key('intents-of:' .. action), name)
  end
  local gone = key('intents-gone')
  while redis.call('ZCARD', gone) > keep do
    local oldest = redis.call('ZPOPMIN', gone)
    redis.call('DEL', key('intent:' .. oldest[1]))
    redis.call('SET', key('intent-floor'), text(tonumber(oldest[2])))
  end
end

local function intent_fields(name)
  return redis.call('HMGET', key('intent:' .. name),
    'base', 'node', 'hold', 'claim', 'claims', 'refusal')
end

local function leave_lock(name, holder, escaped)
  local removed = redis.call('ZREM', key('lock-queue:' .. name), holder)
  redis.call('ZREM', key('lock-alone:' .. name), holder)
  redis.call('SREM', key('locks-of:' .. escaped), name)
  return removed
end
