/*
 * sharded_storm_test: as storm_test, over a Redis Cluster: masters are killed and come back, replicas are promoted on
 * request, slots move, connections are cut and scripts forgotten, as a seed has it (SHOAL_SEED=… repeats one,
 * SHOAL_STORM_STEPS makes it longer). The whole history is checked in the end.
 */
import { test } from 'node:test';

import { SEED } from '../integration/harness/random.mjs';
import { pause } from '../integration/harness/wait.mjs';
import { withCluster } from './harness/cluster.mjs';
import { storm, TOPICS } from './harness/storm.mjs';

const STEPS = Number(process.env.SHOAL_STORM_STEPS ?? 10);

async function masters(sharded) {
    const told = await Promise.all(sharded.nodes.map((node) => node.command('INFO', 'replication')));
    return sharded.nodes.filter((_, index) => /role:master/.test(told[index]));
}

/* Each takes the Redis Cluster, chance, a host, and a time in ms for which it lasts. */
const FAULTS = {
    'a master is killed, and comes back': async ({ sharded, random, ms }) => {
        const all = await masters(sharded);
        const victim = all[random(all.length)];
        await victim.kill();
        await pause(3 * ms);
        await victim.again();
        await sharded.untilWell();
    },
    'a replica is promoted': async ({ sharded, random }) => {
        const all = await masters(sharded);
        const replicas = sharded.nodes.filter((node) => !all.includes(node));
        await sharded.failover(replicas[random(replicas.length)]);
    },
    'a slot moves': async ({ sharded, random, ms }) => {
        const slot = await sharded.slotOfTopic(TOPICS[random(TOPICS.length)]);
        const owner = await sharded.ownerOf(slot);
        const others = (await masters(sharded)).filter((node) => node !== owner);
        await sharded.moveSlot(slot, others[random(others.length)], { open_ms: ms });
    },
    'a master is paused': async ({ sharded, random, ms }) => {
        const all = await masters(sharded);
        const victim = all[random(all.length)];
        victim.pause();
        await pause(3 * ms);
        victim.resume();
        await sharded.untilWell();
    },
    'scripts are forgotten': async ({ sharded }) => {
        for (const node of await masters(sharded)) await node.command('SCRIPT', 'FLUSH');
    },
    'subscriptions are cut': async ({ sharded, random }) => {
        await sharded.nodes[random(sharded.nodes.length)].command('CLIENT', 'KILL', 'TYPE', 'pubsub');
    },
    'commands are cut': async ({ sharded, random }) => {
        await sharded.nodes[random(sharded.nodes.length)].command('CLIENT', 'KILL', 'TYPE', 'normal');
    },
    'a host is killed': async ({ cluster, host }) => {
        host.broker.abandon();
        await host.broker.exited;
        await cluster.startHost(host);
    },
    'a host does not turn': async ({ host, ms }) => {
        host.broker.signal('SIGSTOP');
        await pause(3 * ms);
        host.broker.signal('SIGCONT');
    },
};

test(`a storm over a Redis Cluster (seed ${SEED})`, () =>
    withCluster({ sharded: { masters: 3, replicas: true }, hosts: 2 }, (cluster) =>
        storm(cluster, {
            steps: STEPS,
            faults: FAULTS,
            draw: (random) => {
                const at = { sharded: cluster.sharded, host: cluster.hosts[random(2)], ms: random(800) };
                return { ...at, words: `${at.host.name}, ${at.ms} ms` };
            },
            well: () => cluster.sharded.untilWell(),
        }),
    ));
