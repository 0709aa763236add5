-- live: tells a live message to all hosts, in a Redis Cluster.
--
-- The sharded channel reaches who has subscribed the topic. Patterns there are none of sharded channels, so whoever has a
-- filter has a pattern of classic channels, at every master: only while this one has any, the message goes out by a
-- classic channel, too, which the cluster's bus carries to all nodes.
--
-- No keys: a key that does not exist would be sent elsewhere while its slot moves, and a channel is not.
-- ARGV: channel, the channel for patterns, message
redis.call('SPUBLISH', ARGV[1], ARGV[3])
if redis.call('PUBSUB', 'NUMPAT') > 0 then
    redis.call('PUBLISH', ARGV[2], ARGV[3])
end
return 0
