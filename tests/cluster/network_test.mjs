/*
 * network_test: hosts and Redis in network namespaces of their own; what befalls the links between them, while
 * publishers and subscribers of all hosts are at work. The whole history is checked as in faults_test.mjs: Redis loses
 * nothing here, so nobody may miss anything. Clients come by another way, which stays whole.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { pause, until } from '../integration/harness/wait.mjs';
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
            set: { 'auth.anonymous': true, 'admin.token_file': '@FOLDER@/token' },
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
