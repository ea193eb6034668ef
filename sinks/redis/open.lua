-- Takes the position over, and returns {log, epoch, position}, each absent if there is none. An opening that has the position already
-- asks again: if another one has taken it since, the answer is empty.
-- KEYS: the position's hash. ARGV: the opening, 'take' or 'ask'.
if ARGV[2] == 'ask' and redis.call('HGET', KEYS[1], 'opening') ~= ARGV[1] then return {} end
redis.call('HSET', KEYS[1], 'opening', ARGV[1])
return redis.call('HMGET', KEYS[1], 'log', 'epoch', 'position')
