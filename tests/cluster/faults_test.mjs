/*
 * faults_test: what befalls Redis servers and hosts, while publishers and subscribers of both hosts are at work. After
 * each fault the whole history is checked (harness/history.mjs): every acknowledged message was seen by everybody, once
 * and in one order, or its loss was told. What befalls the network between them is in network_test.mjs.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

import { SANITIZED, SHOALD } from '../integration/harness/broker.mjs';
import { publish } from '../integration/harness/http.mjs';
import { pause, until } from '../integration/harness/wait.mjs';
import { JsonClient } from '../integration/harness/ws.mjs';
import { clusterOf, untilNotReady, withCluster } from './harness/cluster.mjs';
import { Door } from './harness/door.mjs';
import { Redis, Sentinel } from './harness/redis.mjs';
import { Traffic } from './harness/traffic.mjs';

const SHOAL = join(dirname(SHOALD), 'shoal');
const run = promisify(execFile);
const PACE_MS = 3;
const SKIPPED_BYTES = 60_000;
const SKIPS = {
    'namespace.log.slow': 'skip',
    'namespace.log.backlog_bytes': 1 << 20,
    'namespace.log.history_messages': 1,
};
const SOME = 30; // messages of each publisher before and after a fault
/* The library that shifts a clock (clock_shift.c); without it, that test is skipped. */
const CLOCK_SHIFT = process.env.SHOAL_CLOCK_SHIFT;

/* Traffic, a fault in the middle of it, all well again, and the check. Gives what was checked. */
async function under(cluster, fault, options = {}) {
    const traffic = await Traffic.start(cluster, { pace_ms: PACE_MS, ...options });
    try {
        await traffic.more(SOME);
        await fault(traffic);
        await cluster.untilReady();
        return await traffic.settled();
    } finally {
        traffic.stop();
    }
}

/* ---- Redis ---- */

test('Redis is killed, and comes back empty: the epoch ends, and everybody is told', () =>
    withCluster({}, async (cluster) => {
        const [redis] = cluster.redis;
        const checked = await under(cluster, async () => {
            await redis.kill();
            await untilNotReady(cluster.hosts[0].broker, /redis/i);
            await redis.again({ empty: true });
        });
        assert.equal(checked.epochs, 4, 'two for each topic');
        assert.ok(checked.gaps > 0);
    }));

/*
 * The epoch ends right behind what the reader has in part; what comes then outgrows the backlog, so that the reader is
 * passed where it stands before the gap. What it skips has no meaning in the epoch that it knows.
 */
test('a slow reader that skips over the end of an epoch is told so', () =>
    withCluster({ hosts: 1, set: SKIPS }, async (cluster) => {
        const [{ broker }] = cluster.hosts;
        const [reader, publisher] = [await JsonClient.open(broker), await JsonClient.open(broker)];
        const { epoch } = await reader.subscribe('log/slow');
        const publishSome = () => publisher.publish('log/slow', 'x'.repeat(SKIPPED_BYTES));
        reader.pause();
        let last;
        for (let behind = 0; behind === 0; behind = (await broker.stats()).cursors) {
            last = await publishSome();
            await broker.untilStats('it to be sent', (stats) => stats.deliveries === stats.publishes);
        }
        await cluster.redis[0].kill();
        await untilNotReady(broker, /redis/i);
        await cluster.redis[0].again({ empty: true });
        await cluster.untilReady();
        while ((await broker.stats()).messages_skipped === 0) await publishSome();
        const end = await publisher.publish('log/slow', 'end');
        reader.resume();
        const seen = await reader.inbox.takeMany(last.offset);
        assert.deepEqual([seen.at(-1).epoch ?? epoch, seen.at(-1).offset], [epoch, last.offset]);
        const gap = await reader.inbox.take();
        assert.deepEqual([gap.op, gap.reason, gap.epoch], ['gap', 'epoch', end.epoch]);
        assert.equal((await reader.inbox.take()).offset, gap.to + 1);
    }));

test('Redis is killed, and comes back with an old snapshot: no offset means two things', () =>
    withCluster({}, async (cluster) => {
        const [redis] = cluster.redis;
        const checked = await under(cluster, async (traffic) => {
            await redis.snapshot();
            await traffic.more(SOME); // acknowledged, and lost
            await redis.kill();
            await redis.again();
        });
        assert.equal(checked.epochs, 4);
    }));

test('Redis is killed again and again', () =>
    withCluster({}, (cluster) =>
        under(cluster, async (traffic) => {
            for (let round = 0; round < 3; round++) {
                await cluster.redis[0].kill();
                await pause(100 * round);
                await cluster.redis[0].again();
                if (round % 2) await traffic.more(5);
            }
        }),
    ));

test('with cluster.durable a restart keeps the epoch, and nobody misses anything', () =>
    withCluster(
        {
            redis: [{ options: { appendonly: 'yes', appendfsync: 'always' } }],
            set: { 'cluster.durable': true },
        },
        async (cluster) => {
            const checked = await under(cluster, async () => {
                await cluster.redis[0].kill();
                await cluster.redis[0].again();
            });
            assert.equal(checked.epochs, 2);
            assert.equal(checked.gaps, 0);
        },
    ));

test('Redis is paused: its connections stay, and nothing comes', () =>
    withCluster({}, async (cluster) => {
        const [redis] = cluster.redis;
        const checked = await under(cluster, async () => {
            redis.pause();
            for (const { broker } of cluster.hosts) await untilNotReady(broker, /redis/i);
            redis.resume();
        });
        assert.equal(checked.epochs, 2, 'it has lost nothing');
        assert.equal(checked.gaps, 0);
    }));

test('Redis is paused for less than it is given: nobody notices', () =>
    withCluster({ set: { 'cluster.timeout_ms': 30_000, 'cluster.wait_ms': 60_000 } }, async (cluster) => {
        const [redis] = cluster.redis;
        const checked = await under(cluster, async () => {
            redis.pause();
            await pause(1500);
            redis.resume();
        });
        assert.deepEqual([checked.epochs, checked.gaps], [2, 0]);
    }));

test('Redis forgets a topic (an operator, or an eviction): its epoch ends', () =>
    withCluster({}, async (cluster) => {
        const [redis] = cluster.redis;
        const checked = await under(cluster, async () => {
            await redis.command('FLUSHALL');
        });
        assert.ok(checked.epochs >= 3);
    }));

test('Redis is full, and evicts what it likes', () =>
    withCluster({ redis: [{ options: { 'maxmemory-policy': 'allkeys-random' } }] }, async (cluster) => {
        const [redis] = cluster.redis;
        await under(
            cluster,
            async (traffic) => {
                const { used_memory } = await redis.info('memory');
                await redis.command('CONFIG', 'SET', 'maxmemory', Number(used_memory) + 100_000);
                await until('something to be evicted', async () => {
                    if (traffic.failure) throw traffic.failure;
                    return Number((await redis.info('stats')).evicted_keys) > 5;
                });
                await redis.command('CONFIG', 'SET', 'maxmemory', 0);
            },
            { filler: 'x'.repeat(2000) },
        );
    }));

test('Redis is full, and refuses: publishers are told to retry, and nothing is lost', () =>
    withCluster({ redis: [{ options: { 'maxmemory-policy': 'noeviction' } }] }, async (cluster) => {
        const [redis] = cluster.redis;
        const checked = await under(cluster, async (traffic) => {
            await redis.command('CONFIG', 'SET', 'maxmemory', 1);
            await until('a publisher to be refused', () => {
                if (traffic.failure) throw traffic.failure;
                return traffic.publishers.some(({ refusals }) => refusals.size > 0);
            });
            await redis.command('CONFIG', 'SET', 'maxmemory', 0);
        });
        assert.equal(checked.gaps, 0);
    }));

test('Redis cuts off the subscription connection: its output buffer limit is hit', () =>
    withCluster(
        { redis: [{ options: { 'client-output-buffer-limit': ['pubsub 1mb 0 0'] } }] },
        async (cluster) => {
            const [here] = cluster.hosts;
            const [redis] = cluster.redis;
            const checked = await under(
                cluster,
                async (traffic) => {
                    here.broker.signal('SIGSTOP'); // does not read, while the other host publishes
                    await until('it to be cut off', async () => {
                        if (traffic.failure) throw traffic.failure;
                        const clients = await redis.command('CLIENT', 'LIST', 'TYPE', 'pubsub');
                        return clients.trim().split('\n').length < 2;
                    }).finally(() => here.broker.signal('SIGCONT'));
                },
                { filler: 'x'.repeat(50_000) },
            );
            assert.equal(checked.epochs, 2);
            assert.equal(checked.gaps, 0, 'the stream had it all');
        },
    ));

test('the connections to Redis are cut again and again', () =>
    withCluster({}, async (cluster) => {
        const [redis] = cluster.redis;
        const checked = await under(cluster, async (traffic) => {
            for (let round = 0; round < 10; round++) {
                await redis.command('CLIENT', 'KILL', 'TYPE', round % 2 ? 'normal' : 'pubsub');
                if (round % 3 === 0) await traffic.more(2);
            }
        });
        assert.deepEqual([checked.epochs, checked.gaps], [2, 0]);
    }));

test('one of two Redis servers is gone: topics of the other do not notice', () =>
    withCluster({ redis: 2 }, async (cluster) => {
        const topics = Array.from({ length: 8 }, (_, index) => `log/t${index}`);
        await under(
            cluster,
            async () => {
                await cluster.redis[0].kill();
                const { reason } = await untilNotReady(cluster.hosts[0].broker, /redis/i);
                assert.ok(reason.includes(cluster.redis[0].address), reason);
                const client = await JsonClient.open(cluster.hosts[0].broker);
                const replies = await Promise.all(
                    Array.from({ length: 40 }, (_, n) => client.ask('publish', { topic: `log/probe${n}`, data: n })),
                );
                const served = replies.filter(({ op }) => op === 'ok').length;
                assert.ok(served > 5 && served < 35, `${served} of 40 are of the server that is left`);
                client.cut();
                await cluster.redis[0].again();
            },
            { topics, pace_ms: 20 },
        );
    }));

/* ---- failover ---- */

/* A master, a replica that follows through a door of its own, and the door through which brokers come. */
async function pairOfRedis() {
    const master = await Redis.start();
    const wire = await Door.to(master.port);
    const replica = await Redis.start({ options: { replicaof: [`127.0.0.1 ${wire.port}`] } });
    await until('the replica to follow', async () => (await replica.info()).master_link_status === 'up');
    const door = await Door.to(master.port);
    return { master, wire, replica, door };
}

async function withFailover(body) {
    const redis = await pairOfRedis();
    try {
        await withCluster({ redis: 0, doors: () => [redis.door.url] }, (cluster) => body(cluster, redis));
    } finally {
        await redis.door.end();
        await redis.wire.end();
        await redis.master.end();
        await redis.replica.end();
    }
}

test('a replica takes over that lags: what it never had is told, and no offset means two things', () =>
    withFailover(async (cluster, { master, wire, replica, door }) => {
        const checked = await under(cluster, async (traffic) => {
            wire.stall();
            await traffic.more(SOME); // acknowledged, and lost
            await master.kill();
            wire.shut();
            await replica.command('REPLICAOF', 'NO', 'ONE');
            door.leadTo(replica.port);
        });
        assert.equal(checked.epochs, 4);
    }));

test('a master is demoted, its connections stay: it is left for the new one', () =>
    withFailover(async (cluster, { master, wire, replica, door }) => {
        const checked = await under(cluster, async () => {
            wire.shut();
            await replica.command('REPLICAOF', 'NO', 'ONE');
            door.leadTo(replica.port); // who is connected stays with the old one
            await master.command('REPLICAOF', '127.0.0.1', replica.port);
            await until('it to be left', async () => {
                const { role } = await master.info('replication');
                const clients = await master.command('CLIENT', 'LIST', 'TYPE', 'pubsub');
                return role === 'slave' && clients.trim() === '';
            });
        });
        assert.equal(checked.epochs, 4);
    }));

test('the master is killed, the sentinel promotes its replica: the hosts follow, and tell so', async () => {
    const master = await Redis.start();
    const replica = await Redis.start({ options: { replicaof: [`127.0.0.1 ${master.port}`] } });
    const sentinel = await Sentinel.watch(master);
    try {
        await sentinel.untilKnown();
        await withCluster({ redis: 0, doors: () => [sentinel.url] }, async (cluster) => {
            const name = `mymaster@${sentinel.address}`;
            const told = async ({ broker }) => (await clusterOf(broker)).servers[0];
            const checked = await under(cluster, async () => {
                const { server, address } = await told(cluster.hosts[0]);
                assert.deepEqual([server, address], [name, master.address]);
                await master.kill();
                const { reason } = await untilNotReady(cluster.hosts[0].broker, /redis/i);
                assert.match(reason, /mymaster at 127\.0\.0\.1/);
            });
            assert.equal(checked.epochs, 4, 'two for each topic');
            for (const host of cluster.hosts) {
                const { server, address, master: called, sentinel: by } = await told(host);
                assert.deepEqual([server, address, called], [name, replica.address, 'mymaster']);
                assert.equal(by, sentinel.address);
                const { stdout } = await run(SHOAL, ['cluster', '--admin', `http://${host.broker.admin}`]);
                assert.ok(stdout.includes(`${replica.address} (mymaster by sentinel ${sentinel.address})`), stdout);
            }
        });
    } finally {
        for (const process of [sentinel, replica, master]) await process.end();
    }
});

test('deliveries stop while all else answers: a probe finds it', () =>
    withFailover(async (cluster, { master, wire, replica, door }) => {
        await under(cluster, async () => {
            wire.shut();
            await replica.command('REPLICAOF', 'NO', 'ONE');
            door.leadTo(replica.port);
            // commands go to the new one from now on, deliveries come from the old
            await master.command('CLIENT', 'KILL', 'TYPE', 'normal');
        });
    }));

/* ---- hosts ---- */

test('a host is killed in the middle of publishing, and comes back', () =>
    withCluster({}, async (cluster) => {
        const [, host] = cluster.hosts;
        const checked = await under(cluster, async (traffic) => {
            for (let round = 0; round < 3; round++) {
                host.broker.abandon();
                await host.broker.exited;
                await cluster.startHost(host);
                await traffic.more(5);
            }
        });
        assert.deepEqual([checked.epochs, checked.gaps], [2, 0], 'all was in the stream');
    }));

test('a host does not turn for a while', () =>
    withCluster({}, async (cluster) => {
        const checked = await under(cluster, async () => {
            cluster.hosts[0].broker.signal('SIGSTOP');
            await pause(2500);
            cluster.hosts[0].broker.signal('SIGCONT');
        });
        assert.equal(checked.epochs, 2);
    }));

const clocks = () => {
    if (SANITIZED) return 'a sanitizer has its own hand on the clock';
    return CLOCK_SHIFT ? false : 'SHOAL_CLOCK_SHIFT does not name the library';
};

test('the hosts have other clocks: an hour before, an hour behind', { skip: clocks() }, () =>
    withCluster(
        {
            environment: (index) => ({ LD_PRELOAD: CLOCK_SHIFT, CLOCK_SHIFT_S: index ? '3600' : '-3600' }),
        },
        async (cluster) => {
            const checked = await under(cluster, (traffic) => traffic.more(SOME));
            assert.deepEqual([checked.epochs, checked.gaps], [2, 0]);
            const [here, there] = cluster.hosts;
            await until('both to be listed', async () => (await clusterOf(here.broker)).nodes.length === 2);
            const clients = [await JsonClient.open(here.broker), await JsonClient.open(there.broker)];
            const times = [];
            for (const client of clients) times.push((await client.ask('ping')).time_ms);
            assert.ok(times[1] - times[0] > 7_000_000, 'their clocks are apart');
        },
    ));

/* ---- what goes on, and what is told, while Redis is away ---- */

test('without Redis live topics are served locally, and publishers to logged ones are told to retry', () =>
    withCluster({}, async (cluster) => {
        const [here] = cluster.hosts;
        const client = await JsonClient.open(here.broker);
        await client.subscribe('live/a');
        await client.subscribe('log/a');
        await publish(here.broker, 'log/a', 'before');
        assert.equal((await client.inbox.take()).data, 'before');
        await cluster.redis[0].kill();
        const { status, reason } = await untilNotReady(here.broker, /redis/i);
        assert.equal(status, 'federation');
        assert.match(reason, new RegExp(cluster.redis[0].address.replaceAll('.', '\\.')));
        await client.publish('live/a', 1);
        assert.equal((await client.inbox.take()).data, 1);
        const refused = await client.ask('publish', { topic: 'log/a', data: 2 });
        assert.deepEqual([refused.code, refused.retry], ['unavailable', true]);
        const late = await JsonClient.open(here.broker);
        await late.subscribe('live/b'); // joins do not hang
        assert.equal((await late.ask('subscribe', { topic: 'log/a' })).op, 'ok', 'what is here is served');
        assert.equal((await late.ask('subscribe', { topic: 'log/never-seen' })).code, 'unavailable');
        await cluster.redis[0].again();
        await cluster.untilReady();
        await client.publish('log/a', 3);
        const after = await client.inbox.takeUntil((delivery) => delivery.data === 3 || delivery.op === 'gap');
        assert.equal(after.op, 'gap', 'Redis has lost its memory, which is told first');
        assert.equal((await client.inbox.takeUntil((delivery) => delivery.op === 'message')).data, 3);
    }));

test('live topics while Redis comes and goes: local subscribers miss nothing, others see nothing twice', () =>
    withCluster({}, async (cluster) => {
        const [here, there] = cluster.hosts;
        const publisher = await JsonClient.open(here.broker);
        const seen = { local: [], remote: [] };
        for (const [name, host] of [['local', here], ['remote', there]]) {
            const client = await JsonClient.open(host.broker);
            await client.subscribe('live/a');
            client.onDelivery = ({ op, data }) => op === 'message' && seen[name].push(data);
        }
        let next = 0;
        const publishSome = async () => {
            for (let n = 0; n < 100; n++) await publisher.publish('live/a', next++);
        };
        await publishSome();
        await cluster.redis[0].kill();
        await publishSome();
        await cluster.redis[0].again();
        await cluster.untilReady();
        await publishSome();
        await until('the last one to arrive', () => seen.remote.at(-1) === next - 1);
        await until('all to be delivered locally', () => seen.local.length === next);
        assert.deepEqual(seen.local, Array.from({ length: next }, (_, n) => n));
        assert.ok(seen.remote.includes(0) && seen.remote.length < next, `${seen.remote.length} of ${next}`);
        assert.ok(seen.remote.includes(next - 100), 'all is well again when the host says so');
        assert.ok(seen.remote.every((n, index) => index === 0 || n > seen.remote[index - 1]), 'in order, none twice');
        const { figures } = await clusterOf(here.broker);
        assert.ok(figures.live_dropped_away > 0, 'what was not told is counted');
    }));

test('a publish may wait for Redis as long as cluster.wait_ms says', () =>
    withCluster({ set: { 'cluster.wait_ms': 30_000 } }, async (cluster) => {
        const [here] = cluster.hosts;
        const client = await JsonClient.open(here.broker);
        await client.publish('log/a', 1);
        await cluster.redis[0].kill();
        await untilNotReady(here.broker, /redis/i);
        const waiting = client.publish('log/a', 2);
        await pause(200);
        await cluster.redis[0].again();
        const { offset } = await waiting;
        assert.ok(offset >= 1);
    }));

test('a broker starts without Redis, serves what it can, and gets ready when Redis comes', () =>
    withCluster({ hosts: 0 }, async (cluster) => {
        await cluster.redis[0].kill();
        cluster.wait = false;
        const host = { name: 'early', broker: null };
        cluster.hosts.push(host);
        await cluster.startHost(host);
        await untilNotReady(host.broker, /redis/i);
        const client = await JsonClient.open(host.broker);
        await client.subscribe('live/a');
        await client.publish('live/a', 1);
        assert.equal((await client.inbox.take()).data, 1);
        await cluster.redis[0].again();
        await cluster.untilReady();
        await client.publish('log/a', 2);
    }));

/* Little room for what waits for Redis, and much for a publisher that waits for answers. */
const TIGHT = {
    'cluster.queue_bytes': '1M',
    'cluster.timeout_ms': 20_000,
    'limits.publish_inflight_bytes': '64M',
};

test('memory stays bounded while Redis is paused and publishers go on', () =>
    withCluster({ set: TIGHT }, async (cluster) => {
        const [here] = cluster.hosts;
        const client = await JsonClient.open(here.broker);
        const filler = 'x'.repeat(20_000);
        cluster.redis[0].pause();
        const replies = [];
        for (let n = 0; n < 300; n++) {
            replies.push(client.ask('publish', { topic: n % 2 ? 'log/a' : 'live/a', data: filler }));
            if (n % 2 === 0) await replies.at(-1); // a live one is answered
        }
        await until('something to be dropped for other hosts', async () => {
            const { servers, figures } = await clusterOf(here.broker);
            assert.ok(servers[0].backlog_bytes <= 1.2 * 2 ** 20, JSON.stringify(servers[0]));
            return figures.live_dropped_full > 0;
        });
        cluster.redis[0].resume();
        const codes = (await Promise.all(replies)).map(({ op, code }) => code ?? op);
        assert.deepEqual(new Set(codes), new Set(['ok', 'unavailable']));
    }));
