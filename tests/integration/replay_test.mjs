/*
 * replay_test: a wildcard subscription that comes back. It names the positions of the topics that it knows, and a time
 * for all others; it gets what it missed of each, in order, and goes on without a hole and without a double, whatever
 * is published meanwhile and on whichever shard a topic lives.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { SHARD_COUNTS, withBroker } from './harness/broker.mjs';
import { publish } from './harness/http.mjs';
import { until } from './harness/wait.mjs';
import { JsonClient } from './harness/ws.mjs';

const KEEPS = (messages) => ({ 'namespace.default.history_messages': messages });
const FORGETS = { 'topics.idle_s': 1, 'namespace.brief.prefix': 'brief/' }; // whatever starts so keeps no history
const TOPICS = Array.from({ length: 12 }, (_, n) => `fleet/${n}/place`);

/* What a client keeps for its user: where it is in each topic. */
class Positions {
    constructor() {
        this.epochs = {};
        this.offsets = {};
    }

    /* Each message must be the next of its topic. */
    take({ topic, offset }) {
        if (this.offsets[topic] !== undefined) assert.equal(offset, this.offsets[topic] + 1, `${topic} in order`);
        this.offsets[topic] = offset;
    }

    from(since_ms) {
        const positions = {};
        for (const [topic, offset] of Object.entries(this.offsets)) {
            positions[topic] = { epoch: this.epochs[topic], offset };
        }
        return { positions, since_ms };
    }
}

async function publishAll(broker, rounds, known) {
    for (let round = 0; round < rounds; round++) {
        await Promise.all(TOPICS.map(async (topic) => {
            const { epoch } = await publish(broker, topic, round);
            if (known) known.epochs[topic] = epoch;
        }));
    }
}

for (const shards of SHARD_COUNTS) {
    test(`${shards} shards: resumes each topic from its position, while others publish`, () =>
        withBroker({ shards, set: KEEPS(1000) }, async (broker) => {
            const known = new Positions();
            let client = await JsonClient.open(broker);
            await client.subscribe('fleet/+/place');
            await publishAll(broker, 3, known);
            for (let n = 0; n < 3 * TOPICS.length; n++) known.take(await client.inbox.take());
            for (let again = 0; again < 4; again++) {
                const pong = await client.ask('ping');
                client.cut();
                await publishAll(broker, 2, known);
                const busy = publishAll(broker, 5, known); // while it comes back
                client = await JsonClient.open(broker);
                const from = known.from(pong.time_ms);
                const answer = await client.ask('subscribe', { topic: 'fleet/+/place', from });
                assert.equal(answer.op, 'ok');
                assert.equal(answer.recovered, true);
                await busy;
                await publishAll(broker, 1, known);
                for (let n = 0; n < 8 * TOPICS.length; n++) known.take(await client.inbox.take());
                assert.equal(client.inbox.items.length, 0);
            }
            assert.ok(Object.values(known.offsets).every((offset) => offset === 35), JSON.stringify(known.offsets));
        }));
}

test('topics that it does not name are replayed from a time', () =>
    withBroker({ shards: 2, set: KEEPS(1000) }, async (broker) => {
        const client = await JsonClient.open(broker);
        await publish(broker, 'news/old', 'before');
        await new Promise((resolve) => setTimeout(resolve, 20));
        const { time_ms } = await client.ask('ping');
        await new Promise((resolve) => setTimeout(resolve, 20));
        await publish(broker, 'news/old', 'after');
        await publish(broker, 'news/young', 'born');
        const from = { positions: {}, since_ms: time_ms };
        const answer = await client.ask('subscribe', { topic: 'news/#', from });
        assert.equal(answer.recovered, true);
        const got = [await client.inbox.take(), await client.inbox.take()];
        assert.deepEqual(got.map(({ topic, offset, data }) => [topic, offset, data]).sort(),
            [['news/old', 2, 'after'], ['news/young', 1, 'born']]);
        await publish(broker, 'news/young', 'grown');
        assert.equal((await client.inbox.take()).data, 'grown');
    }));

test('a position without an epoch is good for a topic that has lived on, and no other', () =>
    withBroker({ shards: 2, set: { ...KEEPS(1000), ...FORGETS } }, async (broker) => {
        const pause = () => new Promise((resolve) => setTimeout(resolve, 20));
        for (let n = 1; n <= 5; n++) await publish(broker, 'lasting', n);
        await publish(broker, 'brief/a', 1);
        const before = await JsonClient.open(broker);
        await pause();
        const { time_ms } = await before.ask('ping');
        await pause();
        await broker.untilStats('the brief one to be forgotten', (stats) => stats.topics === 1);
        await publish(broker, 'brief/a', 'again');
        const positions = { lasting: { offset: 3 }, 'brief/a': { offset: 1 } };
        const client = await JsonClient.open(broker);
        const answer = await client.ask('subscribe', { topic: '#', from: { positions, since_ms: time_ms } });
        assert.equal(answer.recovered, false);
        const { op, topic, reason } = await client.inbox.take();
        assert.deepEqual({ op, topic, reason }, { op: 'gap', topic: 'brief/a', reason: 'epoch' });
        const got = [await client.inbox.take(), await client.inbox.take()];
        assert.deepEqual(got.map((each) => `${each.topic} ${each.offset}`).sort(), ['lasting 4', 'lasting 5']);
    }));

test('what is no longer there is told topic by topic', () =>
    withBroker({ shards: 2, set: KEEPS(5) }, async (broker) => {
        let epoch;
        for (let n = 1; n <= 20; n++) ({ epoch } = await publish(broker, 'short/a', n));
        const client = await JsonClient.open(broker);
        const positions = {
            'short/a': { epoch, offset: 3 },
            'short/gone': { epoch: '0123456789abcdef', offset: 7 },
            'other/b': { epoch, offset: 1 }, // does not match, and does not matter
        };
        const answer = await client.ask('subscribe', { topic: 'short/#', from: { positions, since_ms: Date.now() } });
        assert.equal(answer.recovered, false);
        const gaps = [await client.inbox.take(), await client.inbox.take()];
        gaps.sort((a, b) => (a.topic < b.topic ? -1 : 1));
        assert.deepEqual(gaps.map(({ op, topic, from, to, reason }) => ({ op, topic, from, to, reason })), [
            { op: 'gap', topic: 'short/a', from: 4, to: 15, reason: 'expired' },
            { op: 'gap', topic: 'short/gone', from: 0, to: 0, reason: 'epoch' }, // its next life would begin with 1
        ]);
        for (let n = 16; n <= 20; n++) assert.equal((await client.inbox.take()).offset, n);
    }));

test('of topics of which nothing is kept it is told what was published since, and only that', () =>
    withBroker({ shards: 2 }, async (broker) => {
        const pause = () => new Promise((resolve) => setTimeout(resolve, 20));
        const follower = await JsonClient.open(broker);
        await follower.subscribe('quiet/followed');
        await publish(broker, 'quiet/before', 1);
        await publish(broker, 'quiet/followed', 1);
        await pause();
        const { time_ms } = await follower.ask('ping');
        await pause();
        for (let n = 0; n < 3; n++) await publish(broker, 'quiet/unread', n);
        await publish(broker, 'quiet/followed', 2);
        const client = await JsonClient.open(broker);
        const from = { positions: {}, since_ms: time_ms };
        assert.equal((await client.ask('subscribe', { topic: 'quiet/#', from })).recovered, false);
        const gaps = [await client.inbox.take(), await client.inbox.take()];
        gaps.sort((a, b) => (a.topic < b.topic ? -1 : 1));
        assert.deepEqual(gaps.map(({ op, topic, from, to, reason }) => ({ op, topic, from, to, reason })), [
            { op: 'gap', topic: 'quiet/followed', from: 1, to: 2, reason: 'expired' },
            { op: 'gap', topic: 'quiet/unread', from: 1, to: 3, reason: 'expired' },
        ]);
        await publish(broker, 'quiet/before', 'on');
        assert.equal((await client.inbox.take()).data, 'on'); // and of that one there was nothing to tell
    }));

test('what has grown too old since is told, too', () =>
    withBroker({ set: { ...KEEPS(10), 'namespace.default.history_age_s': 1 } }, async (broker) => {
        const client = await JsonClient.open(broker);
        const { time_ms } = await client.ask('ping');
        await new Promise((resolve) => setTimeout(resolve, 20));
        for (let n = 0; n < 3; n++) await publish(broker, 'aged/a', n);
        await broker.untilStats('nothing to be kept', (stats) => stats.chunk_bytes === 0);
        const from = { positions: {}, since_ms: time_ms };
        assert.equal((await client.ask('subscribe', { topic: 'aged/#', from })).recovered, false);
        const { op, topic, to, reason } = await client.inbox.take();
        assert.deepEqual({ op, topic, to, reason }, { op: 'gap', topic: 'aged/a', to: 3, reason: 'expired' });
    }));

test('a topic without history is not lost between the answers of the owners', () =>
    withBroker({ shards: 5 }, async (broker) => {
        const client = await JsonClient.open(broker);
        let going = true;
        const sent = {};
        const publisher = (async () => {
            while (going) {
                for (const topic of TOPICS) sent[topic] = (await publish(broker, topic, 1)).offset;
            }
        })();
        const from = { positions: {}, since_ms: Date.now() };
        const answer = await client.ask('subscribe', { topic: 'fleet/#', from });
        assert.equal(answer.op, 'ok');
        const known = new Positions();
        for (let n = 0; n < 200; n++) known.take(await client.inbox.take());
        going = false;
        await publisher;
        while (TOPICS.some((topic) => known.offsets[topic] !== sent[topic])) known.take(await client.inbox.take());
    }));

test('more gaps than replies may wait are told, all of them, as the reader reads', () =>
    withBroker({ shards: 2 }, async (broker) => {
        const client = await JsonClient.open(broker);
        const lost = Array.from({ length: 5000 }, (_, n) => `lost/${n}`);
        const positions = Object.fromEntries(lost.map((topic) => [topic, { epoch: '1', offset: 5 }]));
        const ok = await client.subscribe('lost/#', { positions, since_ms: 0 });
        assert.equal(ok.recovered, false);
        const told = new Set();
        for (let n = 0; n < lost.length; n++) {
            const { op, topic } = await client.inbox.take();
            assert.equal(op, 'gap');
            told.add(topic);
        }
        assert.equal(told.size, lost.length);
        await client.close();
    }));

test('the answers to a subscription that was given up are not taken for those of the next', () =>
    withBroker({ shards: 2, set: KEEPS(10) }, async (broker) => {
        await publishAll(broker, 1);
        for (let n = 0; n < 8; n++) await (await JsonClient.open(broker)).subscribe('fleet/#'); // on either shard
        const client = await JsonClient.open(broker);
        const from = { positions: {}, since_ms: 1 };
        const given_up = () => {}; // its reply never comes
        let again;
        client.atOnce(() => {
            client.subscribe('fleet/#', from).catch(given_up);
            client.unsubscribe('fleet/#');
            again = client.subscribe('fleet/#', from);
        });
        assert.equal((await again).recovered, true);
        const topics = [];
        for (let n = 0; n < TOPICS.length; n++) topics.push((await client.inbox.take()).topic);
        assert.deepEqual(topics.sort(), [...TOPICS].sort());
        await client.close();
    }));

test('a pong has no time while older messages wait for a slow reader: resuming from it would lose them', () =>
    withBroker({ shards: 1, set: { ...KEEPS(100), 'namespace.default.backlog_bytes': '64M' } }, async (broker) => {
        const client = await JsonClient.open(broker);
        await client.subscribe('fleet/#');
        client.pause();
        const body = 'x'.repeat(500_000);
        for (let n = 0; n < 40; n++) await publish(broker, `fleet/${n}`, body); // more than the kernel's buffers take
        const pong = client.ask('ping');
        await until('the ping to be worked', async () => (await broker.stats()).cursors > 0);
        await publish(broker, 'other', 1);
        client.resume();
        assert.equal((await pong).time_ms, undefined);
        for (let n = 0; n < 40; n++) await client.inbox.take();
        await until('a pong with a time', async () => (await client.ask('ping')).time_ms > 0);
        await client.close();
    }));
