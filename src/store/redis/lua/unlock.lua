-- ARGV: name, holder, holder escaped
want('lock-queue:' .. ARGV[1], 'zset')
want('lock-alone:' .. ARGV[1], 'zset')
want('locks-of:' .. ARGV[3], 'set')
want('changes', 'stream')
if leave_lock(ARGV[1], ARGV[2], ARGV[3]) == 1 then
  wake()
end
return 1
