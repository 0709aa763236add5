/*
 * pubsub_test: every way in and every way out, and that what goes in comes out: the same bytes, of the same kind, with
 * the offset that the publisher was told. Each with 1, 2 and 5 shards; topics and connections fall on all of them.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { SHARD_COUNTS, withBroker } from './harness/broker.mjs';
import { Curl, EventStream, positionOf, post, publish } from './harness/http.mjs';
import { JsonClient, RawClient, topicPath } from './harness/ws.mjs';

const EPOCH = /^[0-9a-f]{16}$/;
const BYTES = Buffer.from([0, 1, 2, 0xff, 0xfe, 0x80]);

/* A topic for each shard, very probably: with 12 names the chance that one of 5 shards owns none is 1 in 3. */
const TOPICS = Array.from({ length: 12 }, (_, number) => `pubsub/topic-${number}`);

for (const shards of SHARD_COUNTS) {
    const over = (name, body) => test(`${shards} shards: ${name}`, () => withBroker({ shards }, body));

    over('hello tells who is there and what is allowed', async (broker) => {
        const client = await JsonClient.open(broker);
        assert.match(client.hello.server, /^shoald\/\d+\.\d+\.\d+$/);
        assert.ok(client.hello.node.length > 0);
        assert.ok(client.hello.session.length > 0);
        assert.ok(Math.abs(client.hello.time_ms - Date.now()) < 60_000);
        assert.equal(client.hello.limits.payload_bytes_max, 1 << 20);
        assert.equal(client.hello.limits.subscriptions_max, 1000);
        assert.equal(client.hello.limits.heartbeat_interval_ms, 30_000);
    });

    over('from each way in to each way out', async (broker) => {
        for (const topic of TOPICS) await everyWay(broker, topic);
        await broker.untilNothingIsLeft();
    });

    test(`${shards} shards: one connection follows very many`, () =>
        withBroker({ shards, set: { 'limits.subscriptions_per_connection': 3000 } }, followsVeryMany));

    over('filters: + and #, from everywhere, by JSON and raw', async (broker) => {
        const json = await JsonClient.open(broker);
        const all = await RawClient.open(broker, 'house/#');
        const level = await RawClient.open(broker, 'house/+/temperature');
        await json.subscribe('house/+/temperature');
        await json.subscribe('house/kitchen/#');
        const publisher = await JsonClient.open(broker);
        const topics = [
            'house',
            'house/kitchen/temperature',
            'house/attic/temperature',
            'house/kitchen/light/left',
            'garden',
        ];
        const offsets = new Map();
        for (const topic of topics) offsets.set(topic, (await publisher.publish(topic, topic)).offset);

        assert.deepEqual(
            (await all.inbox.takeMany(4)).sort(),
            topics
                .slice(0, 4)
                .map((topic) => `"${topic}"`)
                .sort(),
        );
        assert.deepEqual((await level.inbox.takeMany(2)).sort(), [
            '"house/attic/temperature"',
            '"house/kitchen/temperature"',
        ]);
        const seen = await json.inbox.takeMany(4);
        assert.deepEqual(seen.map((message) => message.topic).sort(), [
            'house/attic/temperature',
            'house/kitchen/light/left',
            'house/kitchen/temperature',
            'house/kitchen/temperature',
        ]);
        for (const message of seen) {
            assert.equal(message.data, message.topic);
            assert.equal(message.offset, offsets.get(message.topic));
        }
        assert.equal(await json.refusal('publish', { topic: 'house/+', data: 1 }), 'not_a_topic');
    });

    over('one connection follows many topics, and lets them go again', async (broker) => {
        const client = await JsonClient.open(broker);
        for (const topic of TOPICS) await client.subscribe(topic);
        assert.equal(await client.refusal('subscribe', { topic: TOPICS[0] }), 'already_subscribed');
        for (const topic of TOPICS) await client.publish(topic, topic);
        const seen = await client.inbox.takeMany(TOPICS.length);
        assert.deepEqual(seen.map((message) => message.data).sort(), [...TOPICS].sort());

        for (const topic of TOPICS.slice(1)) await client.unsubscribe(topic);
        assert.equal(await client.refusal('unsubscribe', { topic: TOPICS[1] }), 'not_subscribed');
        for (const topic of [...TOPICS].reverse()) await client.publish(topic, 'again');
        assert.equal((await client.inbox.take()).topic, TOPICS[0]);
        assert.equal(client.inbox.items.length, 0);
        await broker.untilStats('one subscription', (stats) => stats.subscriptions === 1);
    });

    over('raw: sub, pub and both', async (broker) => {
        const [sub, pub, both] = await Promise.all([
            RawClient.open(broker, 'modes'),
            RawClient.open(broker, 'modes', { mode: 'pub' }),
            RawClient.open(broker, 'modes', { mode: 'both' }),
        ]);
        assert.match(sub.position.epoch, EPOCH);
        assert.equal(sub.position.offset, 0);
        pub.send('from pub');
        for (const client of [sub, both]) assert.equal(await client.inbox.take(), 'from pub');
        both.send(BYTES);
        for (const client of [sub, both]) assert.deepEqual(await client.inbox.take(), BYTES);
        assert.equal(pub.inbox.items.length, 0);

        sub.send('this is not for me to say');
        assert.equal(await sub.closeCode(), 4400);
        await assert.rejects(RawClient.open(broker, 'modes/#', { mode: 'both' }), { status: 400 });
        await assert.rejects(RawClient.open(broker, 'modes/#', { mode: 'pub' }), { status: 400 });
        await assert.rejects(RawClient.open(broker, 'modes', { mode: 'neither' }), { status: 400 });
    });

    over('a payload of every size class arrives whole', async (broker) => {
        const raw = await RawClient.open(broker, 'sizes');
        const json = await JsonClient.open(broker);
        await json.subscribe('sizes');
        for (const size of [0, 1, 125, 126, 127, 65535, 65536, 300_000, 1 << 20]) {
            const payload = Buffer.alloc(size, 'shoal of fish ');
            const { offset } = (await post(broker, 'sizes', payload, { 'content-type': 'text/plain' })).json;
            assert.equal((await raw.inbox.take()) === payload.toString(), true, `raw, ${size} bytes`);
            const message = await json.inbox.take();
            assert.equal(message.offset, offset);
            assert.equal(message.data === payload.toString(), true, `json, ${size} bytes`);
        }
    });

    over('compressed: what many subscribers get, deflated once, is what was sent', async (broker) => {
        const deflate = { deflate: true };
        const [raw, plain, json] = await Promise.all([
            RawClient.open(broker, 'deflated', {}, deflate),
            RawClient.open(broker, 'deflated'),
            JsonClient.open(broker, deflate),
        ]);
        assert.match(raw.upgrade_headers['sec-websocket-extensions'], /permessage-deflate/);
        await json.subscribe('deflated');
        for (const size of [1, 63, 64, 1000, 100_000]) {
            const text = 'the same again and '.repeat(Math.ceil(size / 19)).slice(0, size);
            await json.publish('deflated', text);
            assert.equal(await raw.inbox.take(), JSON.stringify(text));
            assert.equal(await plain.inbox.take(), JSON.stringify(text));
            assert.equal((await json.inbox.take()).data, text);
        }
    });
}

/* One topic: three subscribers of each kind, a message by each publisher. */
async function everyWay(broker, topic) {
    const json = await JsonClient.open(broker);
    const { epoch, offset } = await json.subscribe(topic);
    assert.match(epoch, EPOCH);
    const raw = await RawClient.open(broker, topic);
    assert.deepEqual(raw.position, { epoch, offset });
    const events = await EventStream.open(broker, topic);
    assert.equal(events.opened.event, 'open');
    assert.deepEqual(positionOf(events.opened.id), { epoch, offset });
    const curl = new Curl(broker, ['-N', '-H', 'Accept: text/event-stream', broker.url(topicPath(topic))]);
    assert.equal(await curl.lines.take(), 'event: open');

    const ways = [
        { by: () => json.publish(topic, { n: 1 }), json: { data: { n: 1 } }, raw: '{"n":1}', event: '{"n":1}' },
        { by: () => publish(broker, topic, [1, 2.5, 'drei']), json: { data: [1, 2.5, 'drei'] }, raw: '[1,2.5,"drei"]' },
        {
            by: async () => (await post(broker, topic, 'two\nlines', { 'content-type': 'text/plain' })).json,
            json: { data: 'two\nlines' },
            raw: 'two\nlines',
        },
        {
            by: async () => (await post(broker, topic, BYTES, { 'content-type': 'application/octet-stream' })).json,
            json: { data_base64: BYTES.toString('base64') },
            raw: BYTES,
            event: BYTES.toString('base64'),
            kind: 'binary',
        },
        {
            by: () => json.request('publish', { topic, data_base64: BYTES.toString('base64') }),
            json: { data_base64: BYTES.toString('base64') },
            raw: BYTES,
            event: BYTES.toString('base64'),
            kind: 'binary',
        },
        {
            by: async () =>
                JSON.parse((await Curl.run(broker, ['-d', 'by curl', broker.url(topicPath(topic))])).stdout),
            json: { data: 'by curl' },
            raw: 'by curl',
        },
    ];
    let expected = offset;
    for (const way of ways) {
        const told = await way.by();
        assert.equal(told.epoch, epoch);
        assert.equal(told.offset, ++expected);
        const { op, topic: of, offset: at, ...shown } = await json.inbox.take();
        assert.deepEqual({ op, of, at, shown }, { op: 'message', of: topic, at: expected, shown: way.json });
        assert.deepEqual(await raw.inbox.take(), way.raw);
        assert.deepEqual(await events.inbox.take(), {
            id: `${epoch}:${expected}`,
            event: way.kind ?? 'message',
            data: way.event ?? way.raw,
        });
        assert.equal(
            await curl.lines.takeUntil((line) => line.startsWith('id: ') && line.endsWith(`:${expected}`)),
            `id: ${epoch}:${expected}`,
        );
    }
    await json.close();
    await raw.close();
    events.cut();
    curl.cut();
}

/* By name and by filter; half of them are left again, in an order that has nothing to do with that of coming. */
async function followsVeryMany(broker) {
    const names = Array.from({ length: 3000 }, (_, n) => (n % 100 === 99 ? `many/${n}/+` : `many/${n}`));
    const topicOf = (name) => name.replace('+', 'x');
    const client = await JsonClient.open(broker);
    await Promise.all(client.atOnce(() => names.map((name) => client.subscribe(name))));
    assert.equal(await client.refusal('subscribe', { topic: 'many' }), 'subscriptions_limit');
    assert.equal(await client.refusal('subscribe', { topic: names[2999] }), 'already_subscribed');
    assert.equal(await client.refusal('subscribe', { topic: names[0] }), 'already_subscribed');

    const order = names.map((_, n) => (n * 1999) % names.length);
    const left = new Set(order.slice(0, 1500).map((n) => names[n]));
    await Promise.all(client.atOnce(() => [...left].map((name) => client.unsubscribe(name))));
    assert.equal(await client.refusal('unsubscribe', { topic: [...left][0] }), 'not_subscribed');
    await client.subscribe('many');
    await client.unsubscribe('many');

    const publisher = await JsonClient.open(broker);
    await Promise.all(publisher.atOnce(() => names.map((name) => publisher.publish(topicOf(name), 1))));
    const heard = (await client.inbox.takeMany(1500)).map(({ topic }) => topic);
    const followed = names.filter((name) => !left.has(name)).map(topicOf);
    assert.deepEqual(heard.sort(), followed.sort());
    await client.close();
    await publisher.close();
    await broker.untilNothingIsLeft();
}
