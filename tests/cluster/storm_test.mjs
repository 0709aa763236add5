/*
 * storm_test: one fault after another, as a seed has it (SHOAL_SEED=… repeats one), on three hosts and two Redis
 * servers while all publish and subscribe; SHOAL_STORM_STEPS makes it longer. The whole history is checked in the end.
 * What each fault does alone is in faults_test.mjs.
 */
import { test } from 'node:test';

import { SEED } from '../integration/harness/random.mjs';
import { pause } from '../integration/harness/wait.mjs';
import { withCluster } from './harness/cluster.mjs';
import { storm } from './harness/storm.mjs';

const STEPS = Number(process.env.SHOAL_STORM_STEPS ?? 12);

/* Each takes a Redis server, a host, the cluster, and a time in ms for which it lasts. */
const FAULTS = {
    'Redis is killed': async ({ redis, ms }) => {
        await redis.kill();
        await pause(ms);
        await redis.again();
    },
    'Redis is killed, and comes back empty': async ({ redis, ms }) => {
        await redis.kill();
        await pause(ms);
        await redis.again({ empty: true });
    },
    'Redis takes a snapshot': ({ redis }) => redis.snapshot(),
    'Redis is paused': async ({ redis, ms }) => {
        redis.pause();
        await pause(2 * ms);
        redis.resume();
    },
    'Redis forgets all': ({ redis }) => redis.command('FLUSHALL'),
    'Redis forgets the scripts': ({ redis }) => redis.command('SCRIPT', 'FLUSH'),
    'subscriptions are cut': ({ redis }) => redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub'),
    'commands are cut': ({ redis }) => redis.command('CLIENT', 'KILL', 'TYPE', 'normal'),
    'a host is killed': async ({ host, cluster }) => {
        host.broker.abandon();
        await host.broker.exited;
        await cluster.startHost(host);
    },
    'a host does not turn': async ({ host, ms }) => {
        host.broker.signal('SIGSTOP');
        await pause(3 * ms);
        host.broker.signal('SIGCONT');
    },
    'all is well for a while': ({ traffic }) => traffic.more(5),
};

test(`a storm (seed ${SEED})`, () =>
    withCluster({ redis: 2, hosts: 3 }, (cluster) =>
        storm(cluster, {
            steps: STEPS,
            faults: FAULTS,
            draw: (random) => {
                const at = { redis: cluster.redis[random(2)], host: cluster.hosts[random(3)], ms: random(800) };
                return { ...at, words: `${at.redis.port}, ${at.host.name}, ${at.ms} ms` };
            },
        }),
    ));
