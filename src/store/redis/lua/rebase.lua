-- After a reconnection the server may have lost what it had: every reader of intents reads all again.
check_intents()
if redis.call('EXISTS', key('intent-revision')) == 1 then
  redis.call('SET', key('intent-floor'), text(next_revision()))
  wake()
end
return 1
