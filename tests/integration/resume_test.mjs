/*
 * resume_test: a client that is cut off and returns with its position misses nothing within history, gets nothing
 * twice, and is told exactly what it missed beyond it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Broker, SHARD_COUNTS, withBroker } from './harness/broker.mjs';
import { EventStream, get, history, publish } from './harness/http.mjs';
import { Ledger } from './harness/order.mjs';
import { until } from './harness/wait.mjs';
import { JsonClient, RawClient, query, topicPath } from './harness/ws.mjs';

const KEEPS = (messages) => ({ 'namespace.default.history_messages': messages });

for (const shards of SHARD_COUNTS) {
    test(`${shards} shards: cut off at random, again and again, under fire`, () =>
        withBroker({ shards, set: { ...KEEPS(100_000), 'broker.mesh_slots': 4 } }, async (broker) => {
            const ledger = new Ledger('cut');
            const { offset, epoch } = await (await JsonClient.open(broker)).subscribe('cut');
            let publishing = true;
            const publisher = publishUntil(broker, ledger, () => publishing);
            const clients = Array.from({ length: 8 }, () => comesAndGoes(broker, ledger.reader(offset), epoch));
            await Promise.all(clients);
            publishing = false;
            await publisher;
        }));

    test(`${shards} shards: from new, last, and every position of the history`, () =>
        withBroker({ shards, set: KEEPS(10) }, async (broker) => {
            let epoch;
            for (let n = 1; n <= 15; n++) ({ epoch } = await publish(broker, 'places', n));
            for (let offset = 0; offset <= 15; offset++) await returnsFrom(broker, 'places', epoch, offset, 15, 10);

            const last = await JsonClient.open(broker);
            await last.subscribe('places', 'last');
            assert.equal((await last.inbox.take()).offset, 15);
            const fresh = await JsonClient.open(broker);
            const subscribed = await fresh.subscribe('places', 'new');
            assert.deepEqual({ epoch: subscribed.epoch, offset: subscribed.offset }, { epoch, offset: 15 });
            await publish(broker, 'places', 16);
            for (const client of [last, fresh]) assert.equal((await client.inbox.take()).offset, 16);

            const other = await JsonClient.open(broker);
            assert.equal((await other.ask('subscribe', { topic: 'places/#', from: { epoch, offset: 3 } })).op, 'error');
            assert.equal(
                await other.refusal('subscribe', { topic: 'places', from: { epoch, offset: 17 } }),
                'position_invalid',
            );
            assert.equal(await other.refusal('subscribe', { topic: 'places', from: { epoch } }), 'field_missing');
            assert.equal(await other.refusal('subscribe', { topic: 'places', from: 'yesterday' }), 'field_invalid');
            assert.equal(
                await other.refusal('subscribe', { topic: 'places', from: { epoch: 'no', offset: 3 } }),
                'field_invalid',
            );
            await other.subscribe('places'); // what was refused has left nothing behind
            await broker.untilStats('three subscriptions', (stats) => stats.subscriptions === 3);
        }));
}

/* Subscribes from an offset of a topic with 1…tail, of which the last `kept` are history. */
async function returnsFrom(broker, topic, epoch, offset, tail, kept) {
    const client = await JsonClient.open(broker);
    const answer = await client.subscribe(topic, { epoch, offset });
    const first = tail - kept + 1;
    const reaches = offset + 1 >= first;
    assert.equal(answer.recovered, reaches, `from ${offset}`);
    assert.equal(answer.epoch, epoch);
    let next = offset + 1;
    if (!reaches) {
        const { op, from, to, reason, topic: of } = await client.inbox.take();
        assert.deepEqual(
            { op, from, to, reason, of },
            { op: 'gap', from: offset + 1, to: first - 1, reason: 'expired', of: topic },
        );
        next = first;
    }
    assert.equal(answer.offset, next - 1);
    for (; next <= tail; next++) {
        const message = await client.inbox.take();
        assert.deepEqual({ offset: message.offset, data: message.data }, { offset: next, data: next });
    }
    await client.close();
    assert.equal(client.inbox.items.length, 0, 'and nothing else');
}

async function publishUntil(broker, ledger, going) {
    const client = await JsonClient.open(broker);
    while (going()) {
        const bodies = Array.from({ length: 10 }, () => ledger.next('ada', 'x'.repeat(500)));
        await Promise.all(
            bodies.map(async (body) => {
                ledger.acknowledge(body, (await client.publish(ledger.topic, body)).offset);
            }),
        );
    }
}

/* Reads some messages, is cut off without a word, and comes back: 20 times, by JSON and by SSE in turn. */
async function comesAndGoes(broker, reader, epoch) {
    for (let round = 0; round < 20; round++) {
        const wanted = reader.count + 1 + Math.floor(Math.random() * 60);
        const client = round % 2 ? await backBySse(broker, reader, epoch) : await backByJson(broker, reader, epoch);
        await until('some messages', () => reader.count >= wanted || client.failed);
        client.cut();
        if (client.failed) throw client.failed;
    }
}

/* After the cut, nothing more may be counted: what had arrived but was not read would come again. */
function reading(client, saw) {
    client.onDelivery = (delivery) => {
        if (client.failed || client.is_cut) return;
        try {
            saw(delivery);
        } catch (error) {
            client.failed = error;
        }
    };
    const cut = client.cut.bind(client);
    client.cut = () => {
        client.is_cut = true;
        cut();
    };
    return client;
}

async function backByJson(broker, reader, epoch) {
    const client = await JsonClient.open(broker);
    reading(client, ({ op, offset, data }) => {
        assert.equal(op, 'message');
        reader.saw(offset, data);
    });
    const { recovered } = await client.subscribe(reader.ledger.topic, { epoch, offset: reader.offset });
    assert.equal(recovered, true);
    return client;
}

async function backBySse(broker, reader, epoch) {
    const headers = { 'last-event-id': `${epoch}:${reader.offset}` };
    const stream = await EventStream.open(broker, reader.ledger.topic, {}, headers);
    const late = stream.inbox.items.splice(0);
    reading(stream, ({ id, event, data }) => {
        assert.equal(event, 'message');
        reader.saw(Number(id.split(':')[1]), JSON.parse(data));
    });
    late.forEach((event) => stream.onDelivery(event));
    return stream;
}

test('raw: ?from= goes on, or closes with 4409', () =>
    withBroker({ shards: 5, set: KEEPS(10) }, async (broker) => {
        let epoch;
        for (let n = 1; n <= 15; n++) ({ epoch } = await publish(broker, 'raw', n));
        const back = await RawClient.open(broker, 'raw', { from: `${epoch}:8` });
        assert.deepEqual(back.position, { epoch, offset: 8 });
        assert.deepEqual(await back.inbox.takeMany(7), ['9', '10', '11', '12', '13', '14', '15']);
        const last = await RawClient.open(broker, 'raw', { from: 'last' });
        assert.equal(await last.inbox.take(), '15');
        for (const from of [`${epoch}:4`, `${epoch}:0`, '00000000000000ff:12'])
            assert.equal(await (await RawClient.open(broker, 'raw', { from })).closeCode(), 4409, from);
        await assert.rejects(RawClient.open(broker, 'raw', { from: 'x' }), { status: 400 });
        await assert.rejects(RawClient.open(broker, 'raw', { from: `${epoch}:16` }), { status: 400 });
    }));

test('a subscription by URL that is refused is told so, and nothing else happens', () =>
    withBroker({ shards: 5, set: KEEPS(10) }, async (broker) => {
        const { epoch } = await publish(broker, 'refused', 1);
        const refused = [
            ['refused', `${epoch}:2`, 'position_invalid'],
            ['refused', 'sometimes', 'field_invalid'],
        ];
        for (const [topic, from, code] of refused) {
            const headers = { accept: 'text/event-stream' };
            const events = await get(broker, topicPath(topic) + query({ from }), { headers });
            assert.deepEqual([events.status, events.json.error.code], [400, code], `${topic} from ${from}`);
            await assert.rejects(RawClient.open(broker, topic, { from }), { status: 400 }, `${topic} from ${from}`);
        }
        for (const from of ['last', `${epoch}:1`])
            await assert.rejects(
                RawClient.open(broker, 'refused/#', { from }),
                { status: 400 },
                `a filter from ${from}`,
            );
        await publish(broker, 'refused', 2);
        await broker.untilNothingIsLeft();
    }));

test('server-sent events of a filter cannot resume: they begin anew, and say so', () =>
    withBroker({ shards: 5, set: KEEPS(10) }, async (broker) => {
        const first = await EventStream.open(broker, 'streams/#');
        await publish(broker, 'streams/a', 1);
        const { id } = await first.inbox.take();
        const back = await EventStream.open(broker, 'streams/#', {}, { 'last-event-id': id });
        assert.equal(JSON.parse(back.opened.data).recovered, false);
        await publish(broker, 'streams/b', 2);
        assert.equal((await back.inbox.take()).data, '2');
    }));

test('without history, a position at the tail is good and any other is not', () =>
    withBroker({ shards: 2 }, async (broker) => {
        let epoch;
        for (let n = 1; n <= 5; n++) ({ epoch } = await publish(broker, 'bare', n));
        const client = await JsonClient.open(broker);
        assert.equal((await client.subscribe('bare', { epoch, offset: 5 })).recovered, true);
        const behind = await JsonClient.open(broker);
        const answer = await behind.subscribe('bare', { epoch, offset: 3 });
        assert.deepEqual({ recovered: answer.recovered, offset: answer.offset }, { recovered: false, offset: 5 });
        const { from, to, reason } = await behind.inbox.take();
        assert.deepEqual({ from, to, reason }, { from: 4, to: 5, reason: 'expired' });
        await publish(broker, 'bare', 6);
        for (const each of [client, behind]) assert.equal((await each.inbox.take()).offset, 6);
    }));

test('a broker that was started again has another epoch, and says so', async () => {
    const options = { shards: 2, set: KEEPS(10) };
    const before = await Broker.start(options);
    let position;
    for (let n = 1; n <= 5; n++) position = await publish(before, 'epochs', n);
    await before.stop();
    await withBroker(options, async (broker) => {
        const client = await JsonClient.open(broker);
        const { epoch, offset } = position;
        const answer = await client.subscribe('epochs', { epoch, offset });
        assert.notEqual(answer.epoch, epoch);
        assert.deepEqual({ offset: answer.offset, recovered: answer.recovered }, { offset: 0, recovered: false });
        const gap = await client.inbox.take();
        assert.deepEqual(
            { ...gap },
            { op: 'gap', topic: 'epochs', from: 0, to: 0, reason: 'epoch', epoch: answer.epoch },
        );
        await publish(broker, 'epochs', 'new');
        assert.equal((await client.inbox.take()).offset, 1);
    });
});

test('history that has grown too old is gone for those who return', () =>
    withBroker({ shards: 2, set: { ...KEEPS(100), 'namespace.default.history_age_s': 1 } }, async (broker) => {
        let epoch;
        for (let n = 1; n <= 5; n++) ({ epoch } = await publish(broker, 'old', n));
        const client = await JsonClient.open(broker);
        assert.equal((await client.subscribe('old', { epoch, offset: 0 })).recovered, true);
        await until('the history to be forgotten', async () => (await history(broker, 'old')).messages.length === 0);
        const late = await JsonClient.open(broker);
        assert.equal((await late.subscribe('old', { epoch, offset: 2 })).recovered, false);
        const { from, to, reason } = await late.inbox.take();
        assert.deepEqual({ from, to, reason }, { from: 3, to: 5, reason: 'expired' });
        await broker.untilStats('its chunks to be given back', (stats) => stats.chunks === 0);
    }));

test('a topic that nobody uses is forgotten, and comes back with another epoch', () =>
    withBroker({ shards: 2, set: { 'topics.idle_s': 1 } }, async (broker) => {
        const { epoch } = await publish(broker, 'forgotten', 1);
        await broker.untilStats('the topic to be forgotten', (stats) => stats.topics === 0);
        const again = await publish(broker, 'forgotten', 2);
        assert.notEqual(again.epoch, epoch);
        assert.equal(again.offset, 1);
    }));
