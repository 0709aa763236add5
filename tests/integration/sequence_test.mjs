/*
 * sequence_test: several publishers, on connections of different shards and in every way in, publish to the same topics
 * at once; all subscribers, on all shards and in every way out, see one order a topic, and nothing is lost.
 *
 * It runs with the mesh as it is and with its rings as tiny as they may be: then nearly every turn finds one full.
 * What is checked is said in harness/order.mjs, and order_test.mjs shows that it would be noticed.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { SANITIZED, SHARD_COUNTS, withBroker } from './harness/broker.mjs';
import { EventStream, positionOf, post } from './harness/http.mjs';
import { Ledger } from './harness/order.mjs';
import { until } from './harness/wait.mjs';
import { JsonClient, RawClient } from './harness/ws.mjs';

const TOPICS = ['order/a', 'order/b', 'order/c', 'order/d'];
const MESSAGES = SANITIZED ? 100 : 300; // by each publisher to each topic
const IN_FLIGHT = 25; // of one publisher

for (const shards of SHARD_COUNTS) {
    for (const mesh_slots of shards === 1 ? [1024] : [1024, 4]) {
        test(`${shards} shards, mesh rings of ${mesh_slots}: all see one order`, () =>
            withBroker(
                { shards, set: { 'broker.mesh_slots': mesh_slots, 'namespace.default.backlog_bytes': '64M' } },
                everybodyAtOnce,
            ));
    }
}

async function everybodyAtOnce(broker) {
    const ledgers = new Map(TOPICS.map((topic) => [topic, new Ledger(topic)]));
    const readers = [];
    for (let n = 0; n < 4; n++) {
        readers.push(...(await jsonReaders(broker, ledgers)), ...(await rawReaders(broker, ledgers)));
        readers.push(...(await filterReader(broker, ledgers)), ...(await eventReaders(broker, ledgers)));
    }
    const publishers = [1, 2, 3].flatMap((n) => [
        jsonPublisher(broker, ledgers, `json-${n}`),
        httpPublisher(broker, ledgers, `http-${n}`),
    ]);
    await Promise.all(publishers);

    const published = publishers.length * MESSAGES;
    await until('everybody to see everything', () => {
        const behind = readers.find((reader) => reader.count < published);
        if (behind) throw new Error(`a reader of ${behind.ledger.topic} has seen ${behind.count} of ${published}`);
        return true;
    });
    for (const reader of readers) reader.finish();
    for (const ledger of ledgers.values()) assert.equal(ledger.acknowledged.size, published);
}

async function jsonReaders(broker, ledgers) {
    const client = await JsonClient.open(broker);
    const readers = new Map();
    for (const [topic, ledger] of ledgers) readers.set(topic, ledger.reader((await client.subscribe(topic)).offset));
    client.onDelivery = ({ topic, offset, data }) => readers.get(topic).saw(offset, data);
    return [...readers.values()];
}

async function filterReader(broker, ledgers) {
    const client = await JsonClient.open(broker);
    const readers = new Map([...ledgers].map(([topic, ledger]) => [topic, ledger.reader(0)]));
    client.onDelivery = ({ topic, offset, data }) => readers.get(topic).saw(offset, data);
    await client.subscribe('order/+');
    return [...readers.values()];
}

async function rawReaders(broker, ledgers) {
    return Promise.all(
        [...ledgers].map(async ([topic, ledger]) => {
            const client = await RawClient.open(broker, topic);
            const reader = ledger.reader(client.position.offset);
            client.onDelivery = (payload) => reader.sawNext(JSON.parse(payload));
            return reader;
        }),
    );
}

async function eventReaders(broker, ledgers) {
    return Promise.all(
        [...ledgers].map(async ([topic, ledger]) => {
            const stream = await EventStream.open(broker, topic);
            const reader = ledger.reader(positionOf(stream.opened.id).offset);
            stream.onDelivery = ({ id, data }) => reader.saw(positionOf(id).offset, JSON.parse(data));
            return reader;
        }),
    );
}

/* Publishes to all topics in turn, never more than IN_FLIGHT unanswered. */
async function jsonPublisher(broker, ledgers, name) {
    const client = await JsonClient.open(broker);
    let under_way = [];
    for (let n = 0; n < MESSAGES; n++) {
        for (const [topic, ledger] of ledgers) {
            const body = ledger.next(name, 'x'.repeat(n % 50));
            under_way.push(client.publish(topic, body).then(({ offset }) => ledger.acknowledge(body, offset)));
        }
        if (under_way.length >= IN_FLIGHT) {
            await Promise.all(under_way);
            under_way = [];
        }
    }
    await Promise.all(under_way);
}

/* One request at a time, each on a connection of its own: it lands on any shard. */
async function httpPublisher(broker, ledgers, name) {
    await Promise.all(
        [...ledgers].map(async ([topic, ledger]) => {
            for (let n = 0; n < MESSAGES; n++) {
                const body = ledger.next(name);
                const answer = await post(broker, topic, JSON.stringify(body), { 'content-type': 'application/json' });
                assert.equal(answer.status, 200, answer.text);
                ledger.acknowledge(body, answer.json.offset);
            }
        }),
    );
}

for (const shards of SHARD_COUNTS) {
    test(`${shards} shards: who publishes right behind its subscribe gets what it published`, () =>
        withBroker({ shards }, async (broker) => {
            for (let n = 0; n < 100; n++) {
                const client = await JsonClient.open(broker);
                client.send({ op: 'subscribe', topic: `behind/${n}` });
                client.send({ op: 'publish', topic: `behind/${n}`, data: n });
                assert.equal((await client.inbox.take()).data, n);
                client.cut();
            }
        }));
}
