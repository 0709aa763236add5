/*
 * federation_test: two hosts, all well: what a subscriber of one sees that was published to the other; live and logged,
 * topics and filters, history, resumption on another host, several Redis servers, and what operators are told.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

import { SHOALD } from '../integration/harness/broker.mjs';
import { history, publish } from '../integration/harness/http.mjs';
import { pause, until } from '../integration/harness/wait.mjs';
import { JsonClient, RawClient } from '../integration/harness/ws.mjs';
import { clusterOf, readiness, withCluster } from './harness/cluster.mjs';
import { Traffic } from './harness/traffic.mjs';

const SHOAL = join(dirname(SHOALD), 'shoal');
const run = promisify(execFile);

const data = (messages) => messages.map((message) => message.data);
const numbers = (count, from = 1) => Array.from({ length: count }, (_, index) => from + index);

test('a live topic: who follows at one host sees what is published to the other, once, in order', () =>
    withCluster({}, async ({ hosts: [here, there] }) => {
        const local = await JsonClient.open(here.broker);
        const remote = await JsonClient.open(there.broker);
        await local.subscribe('chat/lobby');
        await remote.subscribe('chat/lobby');
        for (const n of numbers(50)) await local.publish('chat/lobby', n);
        assert.deepEqual(data(await remote.inbox.takeMany(50)), numbers(50));
        assert.deepEqual(data(await local.inbox.takeMany(50)), numbers(50));
        await remote.publish('chat/lobby', 'back');
        assert.equal((await local.inbox.take()).data, 'back');
        assert.equal((await remote.inbox.take()).data, 'back');
        await pause(300); // an echo would have come
        assert.equal(local.inbox.items.length + remote.inbox.items.length, 0, 'nothing comes twice');
    }));

test('a logged topic: one order, one offset, on both hosts', () =>
    withCluster({}, async ({ hosts: [here, there] }) => {
        const clients = [await JsonClient.open(here.broker), await JsonClient.open(there.broker)];
        for (const client of clients) await client.subscribe('log/orders');
        const answers = await Promise.all(
            numbers(100).map((n) => clients[n % 2].publish('log/orders', `${n % 2}/${n}`)),
        );
        const seen = await Promise.all(clients.map((client) => client.inbox.takeMany(100)));
        assert.deepEqual(seen[0].map((m) => [m.offset, m.data]), seen[1].map((m) => [m.offset, m.data]));
        assert.deepEqual(seen[0].map((m) => m.offset), numbers(100));
        assert.deepEqual(answers.map((a) => a.offset).sort((a, b) => a - b), numbers(100));
        assert.equal(new Set(answers.map((a) => a.epoch)).size, 1);
        for (const [index, { offset }] of answers.entries())
            assert.equal(seen[0][offset - 1].data, `${(index + 1) % 2}/${index + 1}`);
    }));

test('a client resumes at another host than it left; history is the same everywhere', () =>
    withCluster({}, async ({ hosts: [here, there] }) => {
        for (const n of numbers(20)) await publish(here.broker, 'log/a', n);
        const first = await history(here.broker, 'log/a');
        const second = await history(there.broker, 'log/a');
        assert.deepEqual(first.messages.map((m) => [m.offset, m.data]), second.messages.map((m) => [m.offset, m.data]));
        assert.equal(first.epoch, second.epoch);
        const client = await JsonClient.open(there.broker);
        const answer = await client.subscribe('log/a', { epoch: first.epoch, offset: 15 });
        assert.equal(answer.recovered, true);
        const rest = await client.inbox.takeMany(5);
        assert.deepEqual(rest.map((m) => [m.offset, m.data]), numbers(5, 16).map((n) => [n, n]));
        await publish(there.broker, 'log/a', 21);
        assert.equal((await client.inbox.take()).offset, 21);
    }));

test('the same idempotency key at two hosts is one message', () =>
    withCluster({}, async ({ hosts: [here, there] }) => {
        const clients = [await JsonClient.open(here.broker), await JsonClient.open(there.broker)];
        const positions = [];
        for (const client of clients) positions.push(await client.publish('log/a', 'once', { key: 'order-17' }));
        const [one, two] = positions.map(({ epoch, offset }) => ({ epoch, offset }));
        assert.deepEqual(one, two);
        assert.equal((await history(here.broker, 'log/a')).messages.length, 1);
    }));

test('no topic and key have the name of another topic in Redis', () =>
    withCluster({ hosts: 1 }, async ({ hosts: [{ broker }] }) => {
        const client = await JsonClient.open(broker);
        await client.publish('log/x}i:y', 1);
        await client.publish('log/x', 1, { key: 'y}m' });
        await client.publish('log/x', 2, { key: 'y}i:z' });
        const { offset } = await client.publish('log/x}i:y', 2, { key: 'z' });
        assert.equal(offset, 2);
        assert.deepEqual(data((await history(broker, 'log/x}i:y')).messages), [1, 2]);
    }));

test('filters reach over hosts; one that begins with a wildcard stays at home', () =>
    withCluster({}, async ({ hosts: [here, there] }) => {
        const remote = await JsonClient.open(there.broker);
        const all = await JsonClient.open(there.broker);
        await remote.subscribe('fleet/+/place');
        await remote.subscribe('log/#');
        await all.subscribe('#');
        await publish(here.broker, 'fleet/7/place', 'live');
        await publish(here.broker, 'fleet/7/speed', 'no');
        await publish(here.broker, 'log/deep/er', 'logged');
        const seen = await remote.inbox.takeMany(2);
        assert.deepEqual(new Set(data(seen)), new Set(['live', 'logged']));
        await publish(here.broker, 'elsewhere', 'not for #');
        await publish(there.broker, 'elsewhere', 'local');
        assert.equal((await all.inbox.takeUntil((m) => m.topic === 'elsewhere')).data, 'local');
        await until('both filters to be reported', async () => (await clusterOf(there.broker)).filters === 2);
        const { figures } = await clusterOf(there.broker);
        assert.ok(figures.filters_refused_levels >= 1, 'what is not told to Redis is counted');
    }));

test('a filter that ends takes nothing from another one of nearly the same topics', () =>
    withCluster({}, async ({ hosts: [here, there] }) => {
        const client = await JsonClient.open(there.broker);
        await client.subscribe('a/+/#');
        await client.subscribe('a/+');
        await client.unsubscribe('a/+');
        await until('Redis to know of one filter', async () => (await clusterOf(there.broker)).filters === 1);
        await pause(300); // what is unsubscribed is unsubscribed by now
        await publish(here.broker, 'a/b', 'still');
        assert.equal((await client.inbox.take()).data, 'still');
    }));

test('binary payloads and large ones cross hosts as they are', () =>
    withCluster({}, async ({ hosts: [here, there] }) => {
        for (const topic of ['live/bytes', 'log/bytes']) {
            const remote = await RawClient.open(there.broker, topic);
            const local = await RawClient.open(here.broker, topic, { mode: 'both' });
            const bytes = Buffer.from(Array.from({ length: 70_000 }, (_, index) => index % 256));
            local.send(bytes);
            assert.ok(bytes.equals(await remote.inbox.take()), `${topic}: bytes`);
            local.send('text\u0000 ü');
            assert.equal(await remote.inbox.take(), 'text\u0000 ü');
        }
    }));

test('several Redis servers share the topics', () =>
    withCluster({ redis: 3 }, async ({ hosts: [here, there], redis }) => {
        const remote = await JsonClient.open(there.broker);
        const topics = numbers(90).map((n) => (n % 2 ? `log/t${n}` : `live/t${n}`));
        for (const topic of topics) await remote.subscribe(topic);
        const local = await JsonClient.open(here.broker);
        for (const topic of topics) await local.publish(topic, topic);
        const seen = await remote.inbox.takeMany(90);
        assert.deepEqual(new Set(data(seen)), new Set(topics));
        const servers = await until('all subscriptions to be reported', async () => {
            const { servers: all } = await clusterOf(there.broker);
            return all.reduce((sum, { subscriptions }) => sum + subscriptions, 0) === 90 && all;
        });
        assert.equal(servers.length, 3);
        for (const { subscriptions } of servers) assert.ok(subscriptions >= 10, 'each server has its share');
        for (const server of redis) assert.ok(Number(await server.command('DBSIZE')) > 0);
    }));

test('hosts know each other, and the command line shows it', () =>
    withCluster({}, async ({ hosts: [here, there] }) => {
        const guest = await JsonClient.open(there.broker);
        const nodes = await until('both hosts to be listed', async () => {
            const listed = (await clusterOf(here.broker)).nodes;
            return listed.length === 2 && listed.some((node) => node.connections === 1) && listed;
        });
        assert.deepEqual(nodes.map(({ name }) => name).sort(), ['host0', 'host1']);
        const other = nodes.find(({ name }) => name === 'host1');
        assert.equal(other.address, there.broker.data);
        assert.equal(nodes.filter(({ self }) => self).length, 1);
        const { stdout } = await run(SHOAL, ['cluster', '--admin', `http://${here.broker.admin}`]);
        assert.match(stdout, /host0[^]*host1/);
        assert.match(stdout, /up .* 127\.0\.0\.1:\d+/);
        guest.cut();
    }));

test('the command line says why a logged topic takes nothing, and waits to follow it until it can', () =>
    withCluster({ hosts: 1 }, async ({ redis: [redis], hosts: [{ broker }] }) => {
        const at = ['--url', `ws://${broker.host}:${broker.port}`];
        await redis.kill();
        await assert.rejects(run(SHOAL, ['pub', ...at, 'log/a', 'x']), { code: 1, stderr: /can't be reached now/ });
        const following = run(SHOAL, ['sub', ...at, '--count', '1', 'log/a']);
        await broker.untilStats('it to be refused', (stats) => stats.asks_unavailable > 0);
        await redis.again();
        await broker.untilStats('it to follow', (stats) => stats.followers === 1);
        await publish(broker, 'log/a', 'at last');
        assert.match((await following).stdout, /at last/);
    }));

test('a host that drains is gone from the list, and its clients go on elsewhere', () =>
    withCluster({}, async (cluster) => {
        const [here, there] = cluster.hosts;
        await until('both to be listed', async () => (await clusterOf(here.broker)).nodes.length === 2);
        await there.broker.stop();
        await until('it to be gone', async () => (await clusterOf(here.broker)).nodes.length === 1);
        await cluster.startHost(there);
        await cluster.untilReady();
    }));

test('a password and a database number; no password is told to anybody', () =>
    withCluster(
        {
            redis: [{ options: { requirepass: 'secret-word' } }],
            doors: (redis) => redis.map(({ address }) => `redis://default:secret-word@${address}/3`),
            wait: false,
        },
        async (cluster) => {
            await cluster.untilReady();
            const [here, there] = cluster.hosts;
            const remote = await JsonClient.open(there.broker);
            await remote.subscribe('log/a');
            await publish(here.broker, 'log/a', 'hello');
            assert.equal((await remote.inbox.take()).data, 'hello');
            const told = [
                JSON.stringify(await clusterOf(here.broker)),
                JSON.stringify(here.broker.lines),
                (await (await fetch(`http://${here.broker.admin}/metrics`)).text()),
            ];
            for (const text of told) assert.doesNotMatch(text, /secret-word/);
        },
    ));

test('a wrong password: not ready, and the reason is told', () =>
    withCluster(
        {
            hosts: 1,
            redis: [{ options: { requirepass: 'secret-word' } }],
            doors: (redis) => redis.map(({ address }) => `redis://:wrong@${address}`),
            wait: false,
        },
        async ({ hosts: [here] }) => {
            const body = await until('the reason', async () => {
                const answer = await readiness(here.broker);
                const { status, body: told } = answer;
                return status === 503 && /WRONGPASS|password|AUTH/i.test(JSON.stringify(told)) && told;
            });
            assert.equal(body.status, 'federation');
            const client = await JsonClient.open(here.broker); // live topics are served
            await client.subscribe('live/a');
            await client.publish('live/a', 1);
            assert.equal((await client.inbox.take()).data, 1);
        },
    ));

test('what a server has and says need not be text', () =>
    withCluster({ hosts: 1 }, async ({ redis: [redis], hosts: [{ broker }] }) => {
        const garble = "redis.call('HSET', KEYS[1], 'g', string.rep(string.char(255), 16))";
        await redis.command('EVAL', garble, 1, 'shoal:generation');
        await publish(broker, 'log/a', 1); // finds the generation to be another one
        const generation = async () => (await clusterOf(broker)).servers[0].generation;
        await until('the generation to be shown', async () => (await generation()) === '?'.repeat(16));
    }));

test('metrics of the link, as promtool wants them', () =>
    withCluster({}, async ({ hosts: [here] }) => {
        const text = await (await fetch(`http://${here.broker.admin}/metrics`)).text();
        assert.match(text, /^shoal_redis_up\{server="1",address="127\.0\.0\.1:\d+"\} 1$/m);
        const child = execFile('promtool', ['check', 'metrics']);
        child.stdin.end(text);
        const status = await new Promise((done) => child.on('close', done));
        assert.equal(status, 0, 'promtool accepts it');
    }));

test('traffic of both hosts to the same topics, at full rate; a client wanders', () =>
    withCluster({}, async (cluster) => {
        const traffic = await Traffic.start(cluster);
        await traffic.more(300);
        const checked = await traffic.settled();
        assert.equal(checked.gaps, 0, 'nothing was missed');
        assert.equal(checked.epochs, 2, 'one for each topic');
    }));

test('canary: a message that is lost on the way to one subscriber is noticed', () =>
    withCluster({}, async (cluster) => {
        const traffic = new Traffic(cluster, { drop: 0 });
        await assert.rejects(async () => {
            await traffic.begun();
            await traffic.more(20);
            await traffic.settled();
        }, /silence/);
        traffic.stop();
    }));
