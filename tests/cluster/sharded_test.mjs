/*
 * sharded_test: hosts that are federated by a Redis Cluster: topics are spread by its slots, over sharded channels.
 * What works with one server works here, and the whole history is checked (harness/history.mjs) while masters fall, are
 * promoted, and slots move.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { pause, until } from '../integration/harness/wait.mjs';
import { JsonClient } from '../integration/harness/ws.mjs';
import { clusterOf, readiness, untilNotReady, withCluster } from './harness/cluster.mjs';
import { Traffic } from './harness/traffic.mjs';

const LOGGED = ['log/a', 'log/b', 'log/c', 'log/d', 'log/e', 'log/f'];

async function clients(cluster, body) {
    const open = await Promise.all(cluster.hosts.map(({ broker }) => JsonClient.open(broker)));
    await body(...open);
    for (const client of open) client.cut();
}

/* From now on what a client is delivered is kept in client.seen. */
function watch(client) {
    client.seen = [];
    client.onDelivery = (delivery) => client.seen.push(delivery);
}

/* What it was delivered of a topic, once it is so much. */
function delivered(client, topic, count) {
    return until(`${count} messages of ${topic}`, () => {
        const of_topic = client.seen.filter((one) => one.topic === topic && one.op === 'message');
        return of_topic.length >= count && of_topic.map(({ data }) => data);
    });
}

test('live and logged topics cross, spread over all masters', () =>
    withCluster({ sharded: { masters: 3 } }, async (cluster) => {
        await clients(cluster, async (one, two) => {
            const topics = Array.from({ length: 30 }, (_, i) => `${i % 2 ? 'log' : 'live'}/topic-${i}`);
            watch(two);
            for (const topic of topics) await two.ask('subscribe', { topic });
            for (const topic of topics)
                for (let i = 0; i < 3; i++)
                    assert.equal((await one.ask('publish', { topic, data: i })).op, 'ok', topic);
            for (const topic of topics) assert.deepEqual(await delivered(two, topic, 3), [0, 1, 2], topic);
        });
        for (const { broker } of cluster.hosts) {
            const { servers, map, figures } = await clusterOf(broker);
            assert.equal(servers.length, 3);
            assert.equal(map.covered, 16384);
            assert.equal(servers.reduce((sum, { slots }) => sum + slots, 0), 16384);
            assert.equal(figures.slots_covered, 16384);
            assert.equal(figures.redis_errors, 0);
        }
        await until('messages to have gone by all masters', async () => {
            const { servers } = await clusterOf(cluster.hosts[0].broker);
            return servers.every(({ relayed }) => relayed > 0);
        });
        await until('the hosts to see each other', async () => {
            const { nodes } = await clusterOf(cluster.hosts[0].broker);
            return nodes.map(({ name }) => name).join() === 'host0,host1';
        });
    }));

test('topics with braces have all of their keys in one slot', () =>
    withCluster({ sharded: { masters: 3 } }, async (cluster) => {
        await clients(cluster, async (one, two) => {
            watch(two);
            for (const topic of ['log/}', 'log/{}', 'log/{a}b', 'log/a}{b', '}', '{', 'x{live}y']) {
                assert.equal((await two.ask('subscribe', { topic })).op, 'ok', topic);
                for (let i = 0; i < 2; i++) {
                    const reply = await one.ask('publish', { topic, data: i, key: `}{${topic}${i}` });
                    assert.equal(reply.op, 'ok', `${topic}: ${JSON.stringify(reply)}`);
                }
                assert.deepEqual(await delivered(two, topic, 2), [0, 1], topic);
            }
        });
    }));

test('filters see topics of all masters, once each and in order', () =>
    withCluster({ sharded: { masters: 3 } }, async (cluster) => {
        await clients(cluster, async (one, two) => {
            assert.equal((await two.ask('subscribe', { topic: 'log/#' })).op, 'ok');
            assert.equal((await two.ask('subscribe', { topic: 'live/+/x' })).op, 'ok');
            assert.equal((await two.ask('subscribe', { topic: 'log/t-1' })).op, 'ok');
            const topics = Array.from({ length: 12 }, (_, i) => (i % 2 ? `log/t-${i}` : `live/${i}/x`));
            watch(two);
            for (const topic of topics)
                for (let i = 0; i < 3; i++) assert.equal((await one.ask('publish', { topic, data: i })).op, 'ok');
            await one.ask('publish', { topic: 'live/0/y', data: 'not this' });
            for (const topic of topics.filter((one) => one !== 'log/t-1'))
                assert.deepEqual(await delivered(two, topic, 3), [0, 1, 2], topic);
            const both = await delivered(two, 'log/t-1', 6); // by the filter and by its name, each in order
            assert.deepEqual(both.toSorted(), [0, 0, 1, 1, 2, 2]);
            await pause(200);
            assert.equal(two.seen.length, 12 * 3 + 3, JSON.stringify(two.seen));
        });
        const { figures } = await clusterOf(cluster.hosts[1].broker);
        assert.ok(figures.arrived_twice > 0, 'channel and pattern deliver the same message');
    }));

test('without a filter nothing crosses the bus of the cluster but by sharded channels', () =>
    withCluster({ sharded: { masters: 3 } }, async (cluster) => {
        const sent = async () => {
            const stats = await Promise.all(cluster.redis.map((node) => node.command('CLUSTER', 'INFO')));
            return stats.reduce(
                (sum, info) => sum + Number(/messages_publish_sent:(\d+)/.exec(info)?.[1] ?? 0),
                0,
            );
        };
        await clients(cluster, async (one, two) => {
            const publish = async () => {
                for (let i = 0; i < 10; i++) await one.ask('publish', { topic: `log/${i}`, data: i });
            };
            await two.ask('subscribe', { topic: 'log/1' });
            await publish();
            assert.equal(await sent(), 0);
            await two.ask('subscribe', { topic: 'log/+' });
            await publish();
            assert.ok((await sent()) >= 10);
        });
    }));

test('a whole history, while clients wander between the hosts', () =>
    withCluster({ sharded: { masters: 3 } }, async (cluster) => {
        const traffic = await Traffic.start(cluster, { topics: LOGGED, pace_ms: 5 });
        await traffic.more(30);
        const checked = await traffic.settled();
        assert.equal(checked.gaps, 0);
        assert.equal(checked.epochs, LOGGED.length);
    }));

test('a master is killed and its replica is promoted', () =>
    withCluster({ sharded: { masters: 3, replicas: true }, set: { 'cluster.wait_ms': 1000 } }, async (cluster) => {
        const traffic = await Traffic.start(cluster, { topics: LOGGED, pace_ms: 5 });
        await traffic.more(10);
        const victim = await cluster.sharded.ownerOf(await cluster.sharded.slotOfTopic('log/a'));
        const heir = cluster.sharded.replicas[cluster.sharded.masters.indexOf(victim)];
        await victim.kill();
        await untilNotReady(cluster.hosts[0].broker, /redis \d|cluster/);
        await cluster.sharded.untilPromoted(heir);
        await cluster.untilReady();
        await traffic.more(10);
        const checked = await traffic.settled();
        assert.ok(checked.gaps > 0, 'a failover is told');
        const { servers } = await clusterOf(cluster.hosts[0].broker);
        assert.equal(servers.length, 3);
        assert.ok(servers.some(({ address }) => address === heir.address));
        assert.ok(!servers.some(({ address }) => address === victim.address));
    }));

test('a failover on request is followed', () =>
    withCluster({ sharded: { masters: 3, replicas: true } }, async (cluster) => {
        const traffic = await Traffic.start(cluster, { topics: LOGGED, pace_ms: 5 });
        await traffic.more(5);
        for (const replica of cluster.sharded.replicas) {
            await cluster.sharded.failover(replica);
            await traffic.more(3);
        }
        for (const master of cluster.sharded.masters.slice(0, 2)) {
            await until('the former master to follow', async () =>
                /master_link_status:up/.test(await master.command('INFO', 'replication')),
            );
            await cluster.sharded.failover(master); // and back
            await traffic.more(3);
        }
        await cluster.untilReady();
        const checked = await traffic.settled();
        assert.ok(checked.gaps > 0, 'a failover is told');
        const [first, second] = cluster.sharded.masters;
        const now = [first, second, cluster.sharded.replicas[2]].map(({ address }) => address);
        await until('both hosts to know the masters', async () => {
            const answers = await Promise.all(cluster.hosts.map(({ broker }) => clusterOf(broker)));
            return answers.every(
                ({ servers }) => servers.map(({ address }) => address).sort().join() === now.sort().join(),
            );
        });
        await clients(cluster, async (one, two) => {
            const topics = Array.from({ length: 12 }, (_, i) => `live/${i}`);
            watch(two);
            for (const topic of topics) assert.equal((await two.ask('subscribe', { topic })).op, 'ok');
            for (const topic of topics) await one.ask('publish', { topic, data: topic });
            for (const topic of topics) assert.deepEqual(await delivered(two, topic, 1), [topic]);
        });
    }));

test('a slot moves while both hosts publish', () =>
    withCluster({ sharded: { masters: 3 }, set: { 'cluster.wait_ms': 2000 } }, async (cluster) => {
        const traffic = await Traffic.start(cluster, { topics: LOGGED.slice(0, 3), pace_ms: 2 });
        await traffic.more(10);
        const slot = await cluster.sharded.slotOfTopic('log/a');
        const owner = await cluster.sharded.ownerOf(slot);
        const others = cluster.sharded.masters.filter((master) => master !== owner);
        for (const to of [...others, owner]) {
            await cluster.sharded.moveSlot(slot, to, { open_ms: 100 });
            await traffic.more(5);
        }
        await cluster.untilReady();
        const checked = await traffic.settled();
        assert.ok(checked.gaps > 0, 'a move is told');
        const { figures } = await clusterOf(cluster.hosts[0].broker);
        assert.ok(figures.redirections > 0);
        assert.equal(figures.slot_moves, 3);
    }));

test('with cluster.durable a slot moves, and nobody is told a gap', () =>
    withCluster({ sharded: { masters: 3 }, set: { 'cluster.durable': true } }, async (cluster) => {
        const traffic = await Traffic.start(cluster, { topics: ['log/a'], pace_ms: 2 });
        await traffic.more(10);
        const slot = await cluster.sharded.slotOfTopic('log/a');
        for (const to of [...cluster.sharded.masters, ...cluster.sharded.masters])
            if (to !== (await cluster.sharded.ownerOf(slot))) {
                await cluster.sharded.moveSlot(slot, to);
                await traffic.more(5);
            }
        const checked = await traffic.settled();
        assert.equal(checked.gaps, 0);
        assert.equal(checked.epochs, 1);
    }));

test('all slots of a master move, and it is left', () =>
    withCluster({ sharded: { masters: 2 } }, async (cluster) => {
        const traffic = await Traffic.start(cluster, { topics: LOGGED.slice(0, 3), pace_ms: 5 });
        await traffic.more(5);
        const [stays, goes] = cluster.sharded.masters;
        await cluster.sharded.moveAll(goes, stays);
        await until('one server to be left', async () => {
            const { servers } = await clusterOf(cluster.hosts[0].broker);
            return servers.length === 1 && servers[0].address === stays.address;
        });
        await cluster.untilReady();
        await traffic.more(5);
        await traffic.settled();
    }));

test('a cluster that is down says so, and mends', () =>
    withCluster({ sharded: { masters: 3 } }, async (cluster) => {
        await clients(cluster, async (one) => {
            const [, , victim] = cluster.sharded.masters;
            await victim.kill();
            await untilNotReady(cluster.hosts[0].broker, /redis \d|cluster/);
            await until('a publish to be refused for the cluster is down', async () => {
                const replies = await Promise.all(
                    LOGGED.map((topic) => one.ask('publish', { topic, data: 1, key: `down ${topic}` })),
                );
                return replies.every(({ op, retry }) => op === 'error' && retry);
            });
            const { body } = await readiness(cluster.hosts[0].broker);
            assert.match(JSON.stringify(body), /redis \d.*(Connection refused|down|no answer)/);
            await victim.again();
            await cluster.untilReady();
            for (const topic of LOGGED) assert.equal((await one.ask('publish', { topic, data: 2 })).op, 'ok');
        });
    }));

test('a user who may just what the documentation says', () =>
    withCluster({ sharded: { masters: 2 }, hosts: 1 }, async (cluster) => {
        const rights = '~shoal:* &* +@read +@write +@pubsub +@scripting +@connection +info +role';
        const more = '+cluster|slots +cluster|myid +cluster|info';
        for (const node of cluster.redis)
            await node.command('ACL', 'SETUSER', 'me', 'on', '>secret', ...rights.split(' '), ...more.split(' '));
        await cluster.hosts[0].broker.stop();
        cluster.urls = [cluster.sharded.url.replace('//', '//me:secret@')];
        await cluster.startHost(cluster.hosts[0]);
        await cluster.untilReady();
        await clients(cluster, async (one) => {
            watch(one);
            for (const topic of ['log/a', 'live/a', 'log/#'])
                assert.equal((await one.ask('subscribe', { topic })).op, 'ok');
            for (const topic of ['log/a', 'live/a'])
                assert.equal((await one.ask('publish', { topic, data: 1, key: 'k' })).op, 'ok');
            await delivered(one, 'log/a', 2);
        });
        const { figures } = await clusterOf(cluster.hosts[0].broker);
        assert.equal(figures.redis_errors, 0);
    }));

test('a seed that is dead is passed over, and one that is no cluster tells why', () =>
    withCluster({ sharded: { masters: 1 }, hosts: 1 }, async (cluster) => {
        const [master] = cluster.sharded.masters;
        cluster.urls = [`redis+cluster://127.0.0.1:1,${master.address}`];
        await cluster.hosts[0].broker.stop();
        await cluster.startHost(cluster.hosts[0]);
        await cluster.untilReady();
        await cluster.hosts[0].broker.stop();
        cluster.urls = [`redis://${master.address}`];
        await master.command('CLUSTER', 'DELSLOTSRANGE', 0, 16383);
        await cluster.startHost(cluster.hosts[0]);
        await untilNotReady(cluster.hosts[0].broker, /named by redis\+cluster/);
    }));
