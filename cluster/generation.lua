-- generation: what the other scripts begin with. See docs/ARCHITECTURE.md, federation.
--
-- A generation is made for a lineage: the process (its run id) and whose replica it had been (its former master's
-- replication id, "" if it never was one, or forgot). A process that restarted, or a replica that took over, may have
-- lost what its predecessor acknowledged. Nobody can know what, so each topic gets a new epoch at its next touch: that
-- is what a new generation does.
--
-- Gives the generation that is valid at `key` (hash: g generation, run, origin), and 1 if it took the place of another
-- one, else 0. `durable`: "1" if the server loses nothing (cluster.durable). `forgets`: a former master that the server
-- has forgotten is no news. That holds where the generation is claimed at each connect; one that was not touched while
-- the server was another's replica, and for so long after that it forgot, would never tell.
local function claim(key, run, origin, proposed, durable, forgets)
    local now = redis.call('HMGET', key, 'g', 'run', 'origin')
    local same = now[2] == run and (now[3] == origin or (forgets and origin == ''))
    if now[1] and (same or durable == '1') then
        return now[1], 0
    end
    redis.call('HSET', key, 'g', proposed, 'run', run, 'origin', origin)
    return proposed, now[1] and 1 or 0
end

