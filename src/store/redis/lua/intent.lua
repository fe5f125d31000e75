-- ARGV: name. Answers the fields or nothing.
want('intents', 'zset')
if not is_live(ARGV[1]) then
  return {}
end
return intent_fields(ARGV[1])
