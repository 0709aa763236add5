-- claim: the generation of what this server remembers. See docs/ARCHITECTURE.md, federation.
--
-- A process that restarted, or a replica that took over, may have lost what its predecessor acknowledged. Nobody can
-- know what, so each topic gets a new epoch at its next touch: that is what a new generation does.
--
-- KEYS: the generation (hash: g generation, run, origin)
-- ARGV: run id of the server, its former master's replication id ("" if it never was a replica, or forgot), a proposed
--       generation, "1" if the server loses nothing (cluster.durable)
-- Returns: the generation that is valid
local now = redis.call('HMGET', KEYS[1], 'g', 'run', 'origin')
local run, origin, proposed, durable = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'
local same = now[2] == run and (origin == '' or now[3] == origin)
if now[1] and (same or durable) then
    return now[1]
end
redis.call('HSET', KEYS[1], 'g', proposed, 'run', run, 'origin', origin)
return proposed
