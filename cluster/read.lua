-- read: one page of a logged topic's stream, and where it begins and ends. Atomic. Behind generation.lua.
--
-- KEYS: the generation, the topic's meta, its stream (append.lua)
-- ARGV: 1 generation, 2 proposed epoch, 3 epoch known ("0": none yet), 4 offset known, 5 newest messages wanted if
--       none is known, 6 messages of a page at most, 7 payload bytes after which a page ends, 8 seconds until the topic
--       may be forgotten; of a Redis Cluster, where 1 is a proposed generation of the slot, also 9 to 11 as claim has
--       them: run id, former master's replication id, "1" if the server loses nothing
-- Returns: epoch, offset before the epoch's first message, first offset in the stream (last + 1: none), last offset,
--          entries (id, fields); or the error "GENERATION": claim first
--
-- With the epoch that is valid: the entries after the offset. With another one: those of the new epoch. With none: the
-- newest. A topic that was never published to gets its epoch here, for whoever subscribes must be told one.
local meta, stream = KEYS[2], KEYS[3]
local generation = ARGV[1]
if ARGV[9] then
    generation = claim(KEYS[1], ARGV[9], ARGV[10], generation, ARGV[11])
elseif redis.call('HGET', KEYS[1], 'g') ~= generation then
    return redis.error_reply('GENERATION is another one')
end

local now = redis.call('HMGET', meta, 'g', 'e', 'o', 'b')
local epoch, last, base = now[2], tonumber(now[3]), tonumber(now[4])
if not (epoch and last and base) then
    redis.call('DEL', stream)
    epoch, last, base = ARGV[2], 0, 0
    redis.call('HSET', meta, 'g', generation, 'e', epoch, 'o', '0', 'b', '0')
    redis.call('EXPIRE', meta, ARGV[8])
elseif now[1] ~= generation then
    epoch, base = ARGV[2], last
    redis.call('HSET', meta, 'g', generation, 'e', epoch, 'b', string.format('%.0f', base))
end

local after = base
if ARGV[3] == epoch then
    after = tonumber(ARGV[4])
elseif ARGV[3] == '0' then
    after = math.max(last - tonumber(ARGV[5]), 0)
end

local first = last + 1
local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)
if oldest[1] then
    first = tonumber(string.match(oldest[1][1], '^%d+'))
end

local entries, bytes = {}, 0
local left, bytes_max = tonumber(ARGV[6]), tonumber(ARGV[7])
while left > 0 and bytes < bytes_max do
    local some = redis.call('XRANGE', stream, string.format('%.0f-0', after + 1), '+', 'COUNT', math.min(left, 16))
    for _, entry in ipairs(some) do
        entries[#entries + 1] = entry
        bytes = bytes + #entry[2][2]
        after = tonumber(string.match(entry[1], '^%d+'))
    end
    left = left - #some
    if #some == 0 then
        break
    end
end
return {epoch, base, first, last, entries}
