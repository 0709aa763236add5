/*
 * network_test: hosts and Redis in network namespaces of their own; what befalls the links between them, while
 * publishers and subscribers of all hosts are at work. The whole history is checked as in faults_test.mjs: Redis loses
 * nothing here, so nobody may miss anything. Clients come by another way, which stays whole.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { pause, until } from '../integration/harness/wait.mjs';
import { JsonClient } from '../integration/harness/ws.mjs';
import { Cluster, untilNotReady } from './harness/cluster.mjs';
import { insideOwnNetwork, makeSpaces } from './harness/namespaces.mjs';
import { Traffic } from './harness/traffic.mjs';

insideOwnNetwork(import.meta.url);

const HOSTS = 3;
const PACE_MS = 10;
const SOME = 20;
const TOKEN = 'a-token-of-the-test';

let spaces;
before(async () => {
    spaces = await makeSpaces(HOSTS);
});
after(() => spaces?.end());

function withSpaces(body) {
    const launcher = (index) => spaces.hosts[index].launcher;
    return withClusterOf(
        {
            redis: [{ bind: spaces.redis.address, port: 6379, launcher: spaces.redis.launcher }],
            hosts: HOSTS,
            launcher,
            set: {
                'auth.anonymous': true,
                'admin.token_file': '@FOLDER@/token',
                'namespace.brief.prefix': 'brief/', // keeps no history
                'namespace.brief.logged': true,
            },
            settings: (index) => ({
                'listen.address': `${spaces.hosts[index].control}:0`,
                'admin.address': `${spaces.hosts[index].control}:0`,
            }),
            files: { token: `${TOKEN}\n` },
        },
        body,
    );
}

async function withClusterOf(options, body) {
    const cluster = await Cluster.start(options);
    try {
        await body(cluster);
        await cluster.stop();
    } catch (error) {
        throw cluster.explained(error);
    } finally {
        await cluster.abandon();
        for (const space of [spaces.redis, ...spaces.hosts]) space.mend();
    }
}

/* Nothing may be missed, whatever the fault. */
async function under(cluster, fault) {
    const traffic = await Traffic.start(cluster, { topics: ['log/a'], pace_ms: PACE_MS });
    try {
        await traffic.more(SOME);
        await fault(traffic);
        await cluster.untilReady();
        const checked = await traffic.settled();
        assert.deepEqual([checked.epochs, checked.gaps], [1, 0]);
    } finally {
        traffic.stop();
    }
}

const CUTS = {
    'what a host sends does not arrive': (host) => host.cut('out'),
    'what Redis sends does not arrive at a host': (host) => host.cut('in'),
    'a host is cut off both ways, without a word': (host) => host.cut('in', 'out'),
};

for (const [name, cut] of Object.entries(CUTS))
    test(name, () =>
        withSpaces((cluster) =>
            under(cluster, async (traffic) => {
                const [, host] = spaces.hosts;
                cut(host);
                await untilNotReady(cluster.hosts[1].broker, /redis/i);
                const others = traffic.publishers.filter(({ host: at }) => at !== cluster.hosts[1]);
                const before = others.map(({ acknowledged }) => acknowledged);
                await until('the other hosts to go on', () =>
                    others.every(({ acknowledged }, index) => acknowledged > before[index] + SOME),
                );
                host.mend();
            }),
        ),
    );

test('a filter misses nothing of a topic that nobody knew before its host was cut off', () =>
    withSpaces(async (cluster) => {
        const [there, here] = cluster.hosts.map(({ broker }) => broker);
        const follower = await JsonClient.open(here);
        await follower.subscribe('log/#');
        await follower.subscribe('brief/#');
        const publisher = await JsonClient.open(there);
        const send = async (topic, ...all) => {
            for (const data of all) await publisher.request('publish', { topic, data });
        };
        spaces.hosts[1].cut('in', 'out');
        await untilNotReady(here, /redis/i);
        await send('log/new', 1, 2);
        const many = (count) => Array.from({ length: count }, (_, n) => n);
        await send('log/long', ...many(2000));
        await send('brief/long', ...many(200));
        spaces.hosts[1].mend();
        await cluster.untilReady();
        await send('log/new', 3);
        await send('log/long', 2000);
        const expected = { 'log/new': 1, 'log/long': 1 };
        for (let left = 3 + 2001; left > 0; left--) {
            const { op, topic, offset } = await follower.inbox.take();
            assert.deepEqual([op, offset], ['message', expected[topic]++], topic);
        }
        await send('brief/long', 200);
        const gap = await follower.inbox.take();
        assert.deepEqual([gap.op, gap.topic, gap.from, gap.reason], ['gap', 'brief/long', 1, 'expired']);
        assert.ok(gap.to < 200, `${gap.to}`);
        for (let offset = gap.to + 1; offset <= 201; offset++)
            assert.equal((await follower.inbox.take()).offset, offset);
        follower.cut();
        publisher.cut();
    }));

test('Redis is cut off from everybody, for a moment', () =>
    withSpaces((cluster) =>
        under(cluster, async () => {
            spaces.redis.cut('in', 'out');
            for (const { broker } of cluster.hosts) await untilNotReady(broker, /redis/i);
            spaces.redis.mend();
        }),
    ));

test('a slow link', () =>
    withSpaces((cluster) =>
        under(cluster, async (traffic) => {
            spaces.hosts[0].slow();
            await traffic.more(SOME);
            spaces.hosts[0].fast();
        }),
    ));

test('a slow Redis', () =>
    withSpaces((cluster) =>
        under(cluster, async (traffic) => {
            spaces.redis.slow();
            await traffic.more(5);
            spaces.redis.fast();
        }),
    ));

test('a flapping link', () =>
    withSpaces((cluster) =>
        under(cluster, async () => {
            for (let round = 0; round < 6; round++) {
                spaces.hosts[round % HOSTS].down();
                await pause(150 + 100 * round);
                spaces.hosts[round % HOSTS].up();
                await pause(200);
            }
        }),
    ));
