-- append: gives a message of a logged topic its position, keeps it in the stream, and tells all hosts. Atomic. Behind
-- generation.lua.
--
-- KEYS: the generation, the topic's meta (hash: g, e epoch, o last offset, b offset before the epoch's first message),
--       its stream, and, if the message has one, its idempotency key
-- ARGV:  1 generation, 2 proposed epoch, 3 channel, 4 header up to the epoch (cluster/wire.h), 5 topic, 6 payload,
--        7 kind, 8 time in ms, 9 messages to keep, 10 seconds until the topic may be forgotten,
--       11 seconds until the idempotency key is;
--       of a Redis Cluster, where the generation is its slot's and 1 a proposed one, also 12 to 14 as claim has them: run
--       id, former master's replication id, "1" if the server loses nothing; 15 the channel for patterns
-- Returns: epoch, offset, 1 if the key was known already, else 0; of a Redis Cluster also 1 if the slot's generation had
--          to be changed, else 0; or the error "GENERATION": claim first
local meta, stream, key = KEYS[2], KEYS[3], KEYS[4]
local generation, changed = ARGV[1], nil
if ARGV[12] then
    generation, changed = claim(KEYS[1], ARGV[12], ARGV[13], generation, ARGV[14])
elseif redis.call('HGET', KEYS[1], 'g') ~= generation then
    return redis.error_reply('GENERATION is another one')
end
if key then
    local known = redis.call('GET', key)
    if known then
        local e, o = string.match(known, '^(%x+) (%d+)$')
        return {e, tonumber(o), 1, changed}
    end
end

local now = redis.call('HMGET', meta, 'g', 'e', 'o')
local epoch, last = now[2], tonumber(now[3])
local fresh = false -- another epoch begins after `last`
if not (epoch and last) then
    redis.call('DEL', stream) -- of a meta that is gone: its offsets mean nothing any more
    epoch, last, fresh = ARGV[2], 0, true
elseif now[1] ~= generation then
    epoch, fresh = ARGV[2], true
end

local function add(offset)
    return redis.pcall('XADD', stream, 'MAXLEN', '~', ARGV[9], string.format('%.0f-0', offset),
                       'd', ARGV[6], 'k', ARGV[7], 't', ARGV[8])
end
local added = add(last + 1)
if type(added) == 'table' and added.err and string.find(added.err, 'ID', 1, true) then
    redis.call('DEL', stream) -- the stream is ahead of the meta, which was lost in part
    epoch, last, fresh = ARGV[2], 0, true
    added = add(1)
end
if type(added) == 'table' and added.err then
    return added -- nothing was changed: no memory, or not a master
end

local offset = last + 1
local offset_text = string.format('%.0f', offset)
if fresh then
    redis.call('HSET', meta, 'g', generation, 'e', epoch, 'b', string.format('%.0f', last), 'o', offset_text)
else
    redis.call('HSET', meta, 'o', offset_text)
end
redis.call('EXPIRE', meta, ARGV[10])
redis.call('EXPIRE', stream, ARGV[10])
if key then
    redis.call('SET', key, epoch .. ' ' .. offset_text, 'EX', ARGV[11])
end
local high = math.floor(offset / 4294967296)
local message = ARGV[4] .. epoch .. string.format('%08x%08x', high, offset - high * 4294967296) .. ARGV[5] .. ARGV[6]
if changed then
    redis.call('SPUBLISH', ARGV[3], message)
    if redis.call('PUBSUB', 'NUMPAT') > 0 then
        redis.call('PUBLISH', ARGV[15], message)
    end
else
    redis.call('PUBLISH', ARGV[3], message)
end
return {epoch, offset, 0, changed}
