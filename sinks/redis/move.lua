-- Stores a position, if no other opening has taken over: then it returns 0.
-- KEYS: the position's hash. ARGV: the opening, the log, the epoch, the position.
if redis.call('HGET', KEYS[1], 'opening') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'log', ARGV[2], 'epoch', ARGV[3], 'position', ARGV[4])
return 1
