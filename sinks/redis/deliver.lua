-- Appends events to streams and stores how far the sink is, in one step. A script is not interrupted, and the server writes it to its log,
-- and to its replicas, as one transaction.
--
-- KEYS: the position's hash, then each stream.
-- ARGV: the opening, the log, the position in it that is stored, the limit of entries of a stream or '0', then for each event: the number
-- of its stream in KEYS, its epoch, the position after it, the number of its fields and values, and these.
-- Returns {events appended, error or ''}. -1: another opening has taken over. -2: another position is stored, because the client has sent
-- the script a second time.
local at = redis.call('HMGET', KEYS[1], 'opening', 'log', 'position')
if at[1] ~= ARGV[1] then return {-1, ''} end
local stored = 0
if at[2] == ARGV[2] then stored = tonumber(at[3]) or 0 end
if stored ~= tonumber(ARGV[3]) then return {-2, ''} end

local limit, done, failure = tonumber(ARGV[4]), 0, ''
local epoch, position
local i = 5
while i <= #ARGV do
	local stream, size = KEYS[tonumber(ARGV[i])], tonumber(ARGV[i + 3])
	local answer
	if limit > 0 then
		answer = redis.pcall('XADD', stream, 'MAXLEN', '~', limit, '*', unpack(ARGV, i + 4, i + 3 + size))
	else
		answer = redis.pcall('XADD', stream, '*', unpack(ARGV, i + 4, i + 3 + size))
	end
	if type(answer) == 'table' and answer.err then
		failure = answer.err
		break
	end
	if tonumber(ARGV[i + 2]) > stored then
		epoch, position = ARGV[i + 1], ARGV[i + 2]
		stored = tonumber(position)
	end
	done = done + 1
	i = i + 4 + size
end
if position then redis.call('HSET', KEYS[1], 'log', ARGV[2], 'epoch', epoch, 'position', position) end
return {done, failure}
