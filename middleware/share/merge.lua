-- Adds penalties to what sources owe, as package penalties does, and tells all replicas which sources are blocked.
-- KEYS[1]: a sorted set of the sources, by the time in milliseconds at which they owe nothing; half a millisecond more marks
-- a source that is blocked. ARGV: the channel, the minimum and the maximum penalty, the number of sources to keep, and for
-- each source its ID, what it owes at least, what is added, and whether it was blocked. All times are in milliseconds.
local least, most, limit = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local blocks = {'1'}
for i = 5, #ARGV, 4 do
  local id = ARGV[i]
  local score = tonumber(redis.call('ZSCORE', KEYS[1], id) or 0)
  local owed = math.max(math.floor(score) - now, tonumber(ARGV[i + 1]), 0)
  owed = math.min(owed + tonumber(ARGV[i + 2]), most)
  local blocked = score % 1 > 0 or ARGV[i + 3] == '1' or owed > least
  redis.call('ZADD', KEYS[1], string.format('%.1f', now + owed + (blocked and 0.5 or 0)), id)
  if blocked then
    blocks[#blocks + 1] = id
    blocks[#blocks + 1] = string.format('%.0f', owed)
  end
end
local over = redis.call('ZCARD', KEYS[1]) - limit
if over > 0 then
  redis.call('ZREMRANGEBYRANK', KEYS[1], 0, over - 1)
end
redis.call('PEXPIRE', KEYS[1], most)
local message = table.concat(blocks, ' ')
if #blocks > 1 then
  redis.call('PUBLISH', ARGV[1], message)
end
return message
