/*
 * slow_test: subscribers that read slowly or not at all. Each policy does what it promises, gaps are exact, and nobody
 * else notices: neither in what they get, nor in the broker's memory, which is bounded by the topic's retention however
 * many stand still.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { SANITIZED, withBroker } from './harness/broker.mjs';
import { EventStream, positionOf } from './harness/http.mjs';
import { Ledger } from './harness/order.mjs';
import { StalledReaders } from './harness/stalled.mjs';
import { until } from './harness/wait.mjs';
import { JsonClient, RawClient } from './harness/ws.mjs';

const MIB = 1 << 20;
const STALLED = 1000;
const PUBLISHED_BYTES = (SANITIZED ? 8 : 64) * MIB;
const PAYLOAD_BYTES = 4096;
const BACKLOG_BYTES = MIB;

/* More than what the kernel takes off the broker's hands for one connection: it always becomes a cursor. */
const BEYOND_BUFFERS_BYTES = 24 * MIB;

const settings = (slow, more = {}) => ({
    'namespace.default.slow': slow,
    'namespace.default.backlog_bytes': BACKLOG_BYTES,
    ...more,
});

/* Publishes so many bytes, as fast as the broker answers. `meanwhile` is called now and then. */
async function publishBytes(broker, ledger, bytes, meanwhile = () => {}) {
    const client = await JsonClient.open(broker);
    const filler = 'x'.repeat(PAYLOAD_BYTES);
    for (let sent = 0; sent < bytes; sent += 64 * PAYLOAD_BYTES) {
        const bodies = Array.from({ length: 64 }, () => ledger.next('ada', filler));
        await Promise.all(
            bodies.map(async (body) => {
                ledger.acknowledge(body, (await client.publish(ledger.topic, body)).offset);
            }),
        );
        if (sent % (2 * MIB) === 0) await meanwhile();
    }
    await client.close();
}

/* A subscriber that reads everything, with its checker. */
async function healthy(broker, ledger) {
    const client = await JsonClient.open(broker);
    const reader = ledger.reader((await client.subscribe(ledger.topic)).offset);
    client.onDelivery = ({ op, offset, data }) => {
        assert.equal(op, 'message', 'who reads is told of no gap');
        reader.saw(offset, data);
    };
    return reader;
}

for (const [slow, dialect] of [
    ['disconnect', 'raw'],
    ['skip', 'json'],
    ['conflate', 'raw'],
]) {
    test(`${STALLED} stalled readers under ${slow} slow nobody, and take no memory beyond the backlog`, () =>
        withBroker({ shards: 2, set: settings(slow) }, async (broker) => {
            const ledger = new Ledger('stall');
            const readers = [await healthy(broker, ledger), await healthy(broker, ledger)];
            const stalled = await StalledReaders.open(broker, STALLED, dialect, 'stall');
            await broker.untilStats('all to follow', (stats) => stats.subscriptions === STALLED + readers.length);
            const resident_before = broker.resident();
            let chunk_bytes = 0;
            await publishBytes(broker, ledger, PUBLISHED_BYTES, async () => {
                chunk_bytes = Math.max(chunk_bytes, (await broker.stats()).chunk_bytes);
            });
            const tail = Math.max(...ledger.acknowledged.values());
            await until('who reads to have read all', () => readers.every((reader) => reader.offset === tail));

            // raw and JSON lanes, each with the backlog, and chunks that are partly beyond it on either side
            assert.ok(chunk_bytes <= 2 * (BACKLOG_BYTES + MIB), `${chunk_bytes} bytes of chunks`);
            const growth = broker.resident() - resident_before;
            if (!SANITIZED) assert.ok(growth < 32 * MIB, `the broker grew by ${growth} bytes`);
            const stats = await broker.stats();
            if (slow === 'disconnect')
                assert.ok(stats.slow_disconnects === STALLED, `${stats.slow_disconnects} closed`);
            else assert.ok(stats.messages_skipped >= STALLED, `${stats.messages_skipped} skipped`);
            stalled.cut();
            await broker.untilStats(
                'the stalled ones to be gone',
                (now) => now.connections === readers.length && now.cursors === 0,
            );
        }));
}

test('skip: a reader that wakes up is told exactly what it missed, by JSON and by SSE', () =>
    withBroker({ shards: 2, set: settings('skip') }, async (broker) => {
        const ledger = new Ledger('skip');
        const json = await JsonClient.open(broker);
        const by_json = ledger.reader((await json.subscribe('skip')).offset);
        json.onDelivery = ({ op, offset, data, from, to, reason }) => {
            if (op === 'message') return by_json.saw(offset, data);
            assert.equal(reason, 'slow');
            by_json.toldGap(from, to);
        };
        const events = await EventStream.open(broker, 'skip');
        const by_events = ledger.reader(0);
        events.onDelivery = ({ event, id, data }) => {
            if (event === 'message') return by_events.saw(positionOf(id).offset, JSON.parse(data));
            assert.equal(event, 'gap');
            by_events.toldGap(JSON.parse(data).from, JSON.parse(data).to);
        };
        json.pause();
        events.response.socket.pause();
        await publishBytes(broker, ledger, BEYOND_BUFFERS_BYTES);
        json.resume();
        events.response.socket.resume();
        for (const reader of [by_json, by_events]) {
            await until('the end to be seen', () => reader.offset === Math.max(...ledger.acknowledged.values()));
            reader.finish();
            assert.equal(reader.gaps.length, 1, 'it slept once, and was told once');
        }
        const [skipped_json, skipped_events] = [by_json, by_events].map(({ gaps: [{ from, to }] }) => to - from + 1);
        assert.equal((await broker.stats()).messages_skipped, skipped_json + skipped_events);
    }));

test('skip: a raw reader, which cannot be told, is closed with 4001', () =>
    withBroker({ shards: 2, set: settings('skip') }, async (broker) => {
        const ledger = new Ledger('skip');
        const raw = await RawClient.open(broker, 'skip');
        const reader = ledger.reader(0);
        raw.onDelivery = (payload) => reader.sawNext(JSON.parse(payload));
        raw.pause();
        const publishing = publishBytes(broker, ledger, BEYOND_BUFFERS_BYTES);
        await broker.untilStats('it to be closed', (stats) => stats.slow_disconnects === 1);
        raw.resume();
        assert.equal(await raw.closeCode(), 4001);
        await publishing;
        assert.equal(reader.gaps.length, 0);
    }));

test('conflate: who wakes up gets the latest, and JSON is told of what lies between', () =>
    withBroker({ shards: 2, set: settings('conflate') }, async (broker) => {
        const ledger = new Ledger('conflate');
        const json = await JsonClient.open(broker);
        const reader = ledger.reader((await json.subscribe('conflate')).offset);
        json.onDelivery = ({ op, offset, data, from, to }) =>
            op === 'message' ? reader.saw(offset, data) : reader.toldGap(from, to);
        const raw = await RawClient.open(broker, 'conflate');
        const sequences = [];
        raw.onDelivery = (payload) => sequences.push(JSON.parse(payload).sequence);
        json.pause();
        raw.pause();
        await publishBytes(broker, ledger, BEYOND_BUFFERS_BYTES);
        json.resume();
        raw.resume();
        const tail = Math.max(...ledger.acknowledged.values());
        await until('the latest to be seen by both', () => reader.offset === tail && sequences.at(-1) === tail);
        reader.finish();
        assert.ok(reader.gaps.length >= 1);
        assert.ok(sequences.length < tail, 'raw, too, has skipped');
        assert.deepEqual(
            sequences,
            [...sequences].sort((a, b) => a - b),
        );
    }));

test('disconnect: closed with 4001, and the resume tells the rest', () =>
    withBroker({ shards: 2, set: settings('disconnect') }, async (broker) => {
        const ledger = new Ledger('disconnect');
        const slow = await JsonClient.open(broker);
        const { epoch, offset } = await slow.subscribe('disconnect');
        const reader = ledger.reader(offset);
        slow.onDelivery = ({ offset: at, data }) => reader.saw(at, data);
        slow.pause();
        const publishing = publishBytes(broker, ledger, BEYOND_BUFFERS_BYTES);
        await broker.untilStats('it to be closed', (stats) => stats.slow_disconnects === 1);
        slow.resume();
        assert.equal(await slow.closeCode(), 4001);
        await publishing;
        const back = await JsonClient.open(broker);
        assert.equal((await back.subscribe('disconnect', { epoch, offset: reader.offset })).recovered, false);
        const { from, to, reason } = await back.inbox.take();
        assert.equal(reason, 'expired');
        reader.toldGap(from, to);
        reader.finish();
    }));

test('a history that reaches back saves the slow one from the policy', () =>
    withBroker(
        {
            shards: 2,
            set: settings('disconnect', {
                'namespace.default.history_messages': 100_000,
                'namespace.default.history_bytes': '64M',
            }),
        },
        async (broker) => {
            const ledger = new Ledger('saved');
            const slow = await JsonClient.open(broker);
            const reader = ledger.reader((await slow.subscribe('saved')).offset);
            slow.onDelivery = ({ offset, data }) => reader.saw(offset, data);
            slow.pause();
            await publishBytes(broker, ledger, BEYOND_BUFFERS_BYTES);
            assert.equal((await broker.stats()).cursors, 1);
            slow.resume();
            await until('everything to be seen', () => reader.offset === Math.max(...ledger.acknowledged.values()));
            reader.finish();
            assert.equal((await broker.stats()).slow_disconnects, 0);
            await broker.untilStats('no cursor to be left', (stats) => stats.cursors === 0);
        },
    ));

test('one slow connection, many topics: each goes on from its own place', () =>
    withBroker({ shards: 5, set: settings('skip', { 'namespace.default.backlog_bytes': '64M' }) }, async (broker) => {
        const ledgers = Array.from({ length: 6 }, (_, n) => new Ledger(`many/${n}`));
        const slow = await JsonClient.open(broker);
        const readers = new Map();
        for (const ledger of ledgers)
            readers.set(ledger.topic, ledger.reader((await slow.subscribe(ledger.topic)).offset));
        slow.onDelivery = ({ topic, offset, data }) => readers.get(topic).saw(offset, data);
        slow.pause();
        await Promise.all(ledgers.map((ledger) => publishBytes(broker, ledger, 4 * MIB)));
        slow.resume();
        for (const [topic, reader] of readers) {
            await until(`all of ${topic}`, () => reader.offset === Math.max(...reader.ledger.acknowledged.values()));
            reader.finish();
        }
    }));
