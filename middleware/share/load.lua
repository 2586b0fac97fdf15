-- Returns how many sources there are from an offset on, up to a number, and those of them that are blocked.
-- KEYS[1]: the sorted set of merge.lua. ARGV: the offset and the number.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local sources = redis.call('ZREVRANGEBYSCORE', KEYS[1], '+inf', now + 1, 'WITHSCORES', 'LIMIT', ARGV[1], ARGV[2])
local blocks = {'1'}
for i = 1, #sources, 2 do
  local score = tonumber(sources[i + 1])
  if score % 1 > 0 then
    blocks[#blocks + 1] = sources[i]
    blocks[#blocks + 1] = string.format('%.0f', math.floor(score) - now)
  end
end
return {#sources / 2, table.concat(blocks, ' ')}
