/*
 * kill_test: clients that die at every stage of a connection's life, by a FIN, a RST, or by ending only their own half,
 * while others publish and subscribe. Afterwards nothing of them is left: no connection, session, cursor, ticket,
 * subscription, and at the end of the process no chunk. Under the address sanitizer also no byte.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { SANITIZED, withBroker } from './harness/broker.mjs';
import { publish } from './harness/http.mjs';
import { Ledger } from './harness/order.mjs';
import { randomFrom, SEED } from './harness/random.mjs';
import { breathe, pause, until } from './harness/wait.mjs';
import { OPCODE, Wire, closeFrame, deflated, frame, head, upgradeHeaders } from './harness/wire.mjs';
import { JsonClient, RawClient } from './harness/ws.mjs';

const VICTIMS = SANITIZED ? 300 : 600;
const DEFLATE = { 'Sec-WebSocket-Extensions': 'permessage-deflate' };
const POST_HEAD = 'POST /v1/topics/kill/post HTTP/1.1\r\nHost: x\r\n';
const SSE_HEAD = 'GET /v1/topics/kill/a HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n';
const HISTORY_HEAD = 'GET /v1/topics/kill/a HTTP/1.1\r\nHost: x\r\n\r\n';

const upgradeOf = (path) => (wire) => wire.send(head(`GET ${path} HTTP/1.1`, upgradeHeaders(wire.broker)));
const bytes = (text) => (wire) => wire.send(text);
const opened =
    (path, ...steps) =>
    async (wire, random) => {
        assert.equal((await wire.upgrade(path, DEFLATE)).status, 101);
        for (const step of steps) await step(wire, random);
    };
const json = (command) => (wire) => wire.sendText(JSON.stringify(command));
const subscribe = (topic, from) => json({ op: 'subscribe', id: 1, topic, from });
const flood = (count, command) => (wire) =>
    wire.send(Buffer.concat(Array.from({ length: count }, () => frame({ payload: JSON.stringify(command) }))));
const large = JSON.stringify({ op: 'publish', topic: 'kill/a', data: 'x'.repeat(200_000) });

/* Every stage at which a client may die. Each leaves the connection in the middle of something. */
const STAGES = {
    'connected': () => {},
    'in the request line': bytes('GET /v1/top'),
    'in the header lines': bytes('GET /v1/topics/kill/a HTTP/1.1\r\nHost: x\r\nUpgra'),
    'before the last line feed': bytes('GET /v1/topics/kill/a HTTP/1.1\r\nHost: x\r\n\r'),
    'as soon as a JSON upgrade is sent': upgradeOf('/v1/ws'),
    'as soon as a raw upgrade is sent': upgradeOf('/v1/topics/kill/a'),
    'as soon as a filter upgrade is sent': upgradeOf('/v1/topics/kill/%23'),
    'after the upgrade': opened('/v1/ws'),
    'after a raw upgrade': opened('/v1/topics/kill/a'),
    'after a raw upgrade of a filter': opened('/v1/topics/kill/%23'),
    'after a raw upgrade with history': opened('/v1/topics/kill/a?from=last'),
    'in a frame header': opened('/v1/ws', bytes(frame({ payload: 'x'.repeat(300) }).subarray(0, 3))),
    'in the masking key': opened('/v1/ws', bytes(frame({ payload: 'x' }).subarray(0, 4))),
    'in a payload': opened('/v1/ws', bytes(frame({ payload: large }).subarray(0, 1000))),
    'in a large payload': opened('/v1/ws', bytes(frame({ payload: large }).subarray(0, 150_000))),
    'in a fragmented message': opened(
        '/v1/ws',
        bytes(frame({ fin: false, payload: '{"op":"pub' })),
        bytes(frame({ fin: false, opcode: OPCODE.CONTINUATION, payload: 'lish"' })),
    ),
    'in a compressed message': opened('/v1/ws', bytes(frame({ rsv: 4, fin: false, payload: deflated(large) }))),
    'in a control frame': opened('/v1/ws', bytes(frame({ opcode: OPCODE.PING, payload: 'ping' }).subarray(0, 7))),
    'with a subscription under way': opened('/v1/ws', subscribe('kill/a')),
    'with a resume under way': opened('/v1/ws', subscribe('kill/a', 'last')),
    'with a filter under way': opened('/v1/ws', subscribe('kill/+')),
    'with an unsubscription under way': opened(
        '/v1/ws',
        subscribe('kill/a'),
        json({ op: 'unsubscribe', topic: 'kill/a' }),
    ),
    'with publishes under way': opened('/v1/ws', flood(50, { op: 'publish', topic: 'kill/b', data: 1 })),
    'with publishes to itself under way': opened(
        '/v1/ws',
        subscribe('kill/c'),
        flood(50, { op: 'publish', topic: 'kill/c', data: 1 }),
    ),
    'with a large publish under way': opened('/v1/ws', bytes(frame({ payload: large }))),
    'with pongs unread': opened('/v1/ws', flood(200, { op: 'ping', id: 1 })),
    'while it is sent to': opened('/v1/ws', subscribe('kill/a'), (wire) =>
        wire.read('a delivery', (got) => (got.length > 2000 ? true : null)),
    ),
    'while it does not read': opened('/v1/ws', subscribe('kill/a'), async (wire) => {
        wire.pause();
        await pause(20);
    }),
    'after its close frame': opened('/v1/ws', bytes(closeFrame(1000))),
    'after a broken frame': opened('/v1/ws', bytes(Buffer.from([0xff, 0xff, 0xff]))),
    'in an echo': opened('/v1/echo', bytes(frame({ payload: 'x'.repeat(100_000) }))),
    'before the body': bytes(`${POST_HEAD}Content-Length: 10\r\n\r\n`),
    'in the body': bytes(`${POST_HEAD}Content-Length: 10\r\n\r\n12345`),
    'in a chunk': bytes(`${POST_HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\nab`),
    'in the size of a chunk': bytes(`${POST_HEAD}Transfer-Encoding: chunked\r\n\r\n5`),
    'while it waits to go on': bytes(`${POST_HEAD}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n`),
    'with a POST under way': bytes(`${POST_HEAD}Content-Length: 5\r\n\r\nhello`),
    'with many POSTs under way': bytes(`${POST_HEAD}Content-Length: 5\r\n\r\nhello`.repeat(30)),
    'with a history under way': bytes(HISTORY_HEAD),
    'as soon as events are asked for': bytes(SSE_HEAD),
    'while it reads events': async (wire) => {
        await wire.send(SSE_HEAD);
        await wire.read('an event', (got) => (got.includes('event: open') ? true : null));
    },
    'after a refused request': bytes('BROKEN\r\n\r\n'),
};

const DEATHS = {
    'by a FIN': (wire) => wire.cut(),
    'by a RST': (wire) => wire.reset(),
    'by ending its half': async (wire) => {
        wire.finish();
        wire.socket.resume();
        await pause(5);
        wire.cut();
    },
};

/* Publishes to kill/a until told otherwise, and a witness that must see it all. */
async function traffic(broker) {
    const ledger = new Ledger('kill/a');
    const witness = await JsonClient.open(broker);
    const reader = ledger.reader((await witness.subscribe('kill/a')).offset);
    let failed = null;
    witness.onDelivery = ({ topic, offset, data }) => {
        try {
            if (data.publisher) return reader.saw(offset, data);
            assert.equal(offset, reader.offset + 1); // what a victim managed to publish
            reader.offset = offset;
        } catch (error) {
            failed ??= new Error(`${topic}: ${error.message}`);
        }
    };
    witness.closed.then(({ code }) => (failed ??= new Error(`the witness was closed with ${code}`)));
    const publisher = await JsonClient.open(broker);
    let going = true;
    const done = (async () => {
        while (going) {
            const body = ledger.next('ada', 'x'.repeat(2000));
            ledger.acknowledge(body, (await publisher.publish('kill/a', body)).offset);
            await breathe();
        }
    })();
    return async () => {
        going = false;
        await done;
        const tail = Math.max(...ledger.acknowledged.values());
        await until('the witness to see the end', () => failed || reader.offset >= tail);
        if (failed) throw failed;
        await witness.close();
        await publisher.close();
    };
}

const SETTINGS = {
    'debug.echo': true,
    'namespace.default.history_messages': 50,
    'namespace.default.backlog_bytes': '8M', // so that the witness is never too slow, however busy this machine
};

test('at each stage, by each death', () =>
    withBroker({ shards: 2, set: SETTINGS }, async (broker) => {
        await publish(broker, 'kill/a', { n: 1 });
        const stopTraffic = await traffic(broker);
        const random = randomFrom(1);
        for (const [stage, reach] of Object.entries(STAGES)) {
            for (const [death, die] of Object.entries(DEATHS)) {
                const wire = await Wire.connect(broker);
                await reach(wire, random);
                await die(wire);
                if (broker.process.exitCode !== null) throw new Error(`the broker died with: ${stage}, ${death}`);
            }
        }
        await stopTraffic();
        await broker.untilNothingIsLeft();
    }));

test(`${VICTIMS} at a time, stages and deaths by chance (SHOAL_SEED=${SEED})`, () =>
    withBroker({ shards: 5, set: { ...SETTINGS, 'broker.mesh_slots': 4 } }, async (broker) => {
        await publish(broker, 'kill/a', { n: 1 });
        const stopTraffic = await traffic(broker);
        const random = randomFrom(SEED);
        const [stages, deaths] = [Object.values(STAGES), Object.values(DEATHS)];
        const lanes = Array.from({ length: 20 }, async () => {
            for (let n = 0; n < VICTIMS / 20; n++) {
                const wire = await Wire.connect(broker);
                await stages[random(stages.length)](wire, random);
                if (random(2)) await pause(random(10));
                await deaths[random(deaths.length)](wire);
            }
        });
        await Promise.all(lanes);
        await stopTraffic();
        await broker.untilNothingIsLeft();
    }));

test('who ends its half while it waits to be subscribed is let go', () =>
    withBroker({ shards: 5, set: { 'broker.mesh_slots': 4 } }, async (broker) => {
        const raw = (topic) => head(`GET /v1/topics/${topic} HTTP/1.1`, upgradeHeaders(broker));
        const stream = (topic) => SSE_HEAD.replace('kill/a', topic);
        for (let n = 0; n < 200; n++) {
            const wire = await Wire.connect(broker);
            wire.socket.end(n % 2 ? raw(`half/${n}`) : stream(`half/${n}`));
        }
        await broker.untilNothingIsLeft();
    }));

test('many at once, all gone in the same moment', () =>
    withBroker({ shards: 5, set: SETTINGS }, async (broker) => {
        const clients = await Promise.all(
            Array.from({ length: 200 }, (_, n) =>
                n % 2 ? RawClient.open(broker, `crowd/${n % 7}`) : JsonClient.open(broker),
            ),
        );
        await Promise.all(
            clients
                .filter((client) => client.subscribe)
                .flatMap((client) => ['crowd/#', 'crowd/1', 'crowd/+'].map((topic) => client.subscribe(topic))),
        );
        for (let n = 0; n < 7; n++) await publish(broker, `crowd/${n}`, 'x'.repeat(100_000));
        for (const client of clients) client.cut();
        await broker.untilNothingIsLeft();
        const stats = await broker.stats();
        assert.equal(stats.connections_accepted, stats.connections_closed + stats.connections);
    }));
