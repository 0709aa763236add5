/*
 * limits_test: every limit is reached, refused with its own error, counted, and let go of again.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';

import { withBroker } from './harness/broker.mjs';
import { get, post } from './harness/http.mjs';
import { pause, until } from './harness/wait.mjs';
import { OPCODE, Wire, frame } from './harness/wire.mjs';
import { JsonClient, RawClient } from './harness/ws.mjs';

const over = (name, set, body) => test(name, () => withBroker({ set }, body));

/* A connection over a limit is told so before it has asked for anything, and ended. */
async function isRefused(broker, code) {
    const wire = await Wire.connect(broker);
    const answer = await wire.readHttp();
    assert.equal(answer.status, 503);
    assert.equal(answer.json.error.code, code);
    assert.equal(answer.json.error.retry, true);
    assert.match(answer.headers['retry-after'], /^[12]$/); // about a second, by chance
    await wire.ended();
    wire.cut();
}

over('limits.connections', { 'limits.connections': 10, 'broker.shards': 1 }, async (broker) => {
    const clients = [];
    for (let n = 0; n < 10; n++) clients.push(await JsonClient.open(broker));
    await isRefused(broker, 'connections_limit');
    await isRefused(broker, 'connections_limit');
    assert.equal((await broker.stats()).connections_refused_limit, 2);
    await clients.pop().close();
    await broker.untilStats('room for one', (stats) => stats.connections === 9);
    await JsonClient.open(broker);
});

over('limits.connections_per_address', { 'limits.connections_per_address': 3, 'broker.shards': 1 }, async (broker) => {
    const clients = [];
    for (let n = 0; n < 3; n++) clients.push(await JsonClient.open(broker));
    await isRefused(broker, 'address_limit');
    const elsewhere = await Wire.connect(broker, { localAddress: '127.0.0.2' });
    assert.equal((await elsewhere.upgrade('/v1/ws')).status, 101);
    assert.equal((await broker.stats()).connections_refused_address, 1);
    clients.pop().cut();
    await broker.untilStats('room for one', (stats) => stats.connections === 3);
    await JsonClient.open(broker);
});

over('limits.handshakes', { 'limits.handshakes': 2, 'broker.shards': 1 }, async (broker) => {
    const [one] = [await Wire.connect(broker), await Wire.connect(broker)];
    await broker.untilStats('two without a request', (stats) => stats.handshakes === 2);
    const third = await Wire.connect(broker); // by the kernel: it waits to be accepted
    const answer = third.upgrade('/v1/ws');
    await broker.untilStats('accepting to pause', (stats) => stats.accept_pauses === 1);
    assert.equal((await broker.stats()).connections, 2);
    assert.equal((await one.upgrade('/v1/ws')).status, 101);
    assert.equal((await answer).status, 101);
});

over('limits.handshake_ms', { 'limits.handshake_ms': 300 }, async (broker) => {
    const silent = await Wire.connect(broker);
    const slow = await Wire.connect(broker);
    await slow.send('GET /v1/ws HTTP/1.1\r\nHost: ');
    await Promise.all([silent.ended(), slow.ended()]);
    assert.equal((await broker.stats()).handshakes_timed_out, 2);
    const client = await JsonClient.open(broker);
    await client.request('ping');
});

over('limits.message_ms: a part of a message, not whole ones', { 'limits.message_ms': 2000 }, async (broker) => {
    const ping = (id) => JSON.stringify({ op: 'ping', id });
    const open = () => Wire.open(broker, '/v1/ws');
    const [fragments, header, payload, busy] = [await open(), await open(), await open(), await open()];
    for (const wire of [fragments, header, payload, busy]) await wire.readText(); // hello
    await fragments.sendFrame({ fin: false, payload: '{' });
    await header.send(frame({ payload: ping(1) }).subarray(0, 1));
    await payload.send(frame({ payload: ping(1) }).subarray(0, 9));
    let rest = Buffer.alloc(0);
    const began = Date.now();
    for (let id = 1; Date.now() - began < 5000; id++) {
        const next = frame({ payload: ping(id) }); // each time the end of one and the beginning of the next
        await busy.send(Buffer.concat([rest, next.subarray(0, id % next.length)]));
        rest = next.subarray(id % next.length);
        await fragments.sendFrame({ opcode: OPCODE.PING }); // is no part of the message
        await pause(20);
    }
    for (const wire of [fragments, header, payload]) {
        let last;
        do last = await wire.readFrame();
        while (last.opcode === OPCODE.PONG);
        assert.equal(last.opcode, OPCODE.CLOSE);
        assert.equal(last.payload.readUInt16BE(0), 4005);
    }
    assert.equal((await broker.stats()).messages_timed_out, 3);
    await busy.send(Buffer.concat([rest, frame({ payload: ping('last') })]));
    while (JSON.parse(await busy.readText()).id !== 'last');
});

over('limits.message_ms: nor whole pings, however they come', { 'limits.message_ms': 1000 }, async (broker) => {
    const wire = await Wire.open(broker, '/v1/topics/a');
    const ping = frame({ opcode: OPCODE.PING, payload: 'pong' });
    const began = Date.now();
    await wire.send(ping.subarray(0, 5));
    while (Date.now() - began < 3000) {
        await pause(20);
        await wire.send(Buffer.concat([ping.subarray(5), ping.subarray(0, 5)]));
        assert.equal((await wire.readFrame()).opcode, OPCODE.PONG);
    }
    assert.equal((await broker.stats()).messages_timed_out, 0);
});

over(
    'limits.partial_bytes: parts of messages fill no shard',
    { 'limits.message_bytes': '32K', 'limits.partial_bytes': '64K', 'broker.shards': 1 },
    async (broker) => {
        const partBytes = (bytes) =>
            broker.untilStats(`${bytes} bytes of parts`, (stats) => stats.partial_bytes === bytes);
        const open = () => Wire.open(broker, '/v1/topics/a?mode=pub');
        const [one, two, none] = [await open(), await open(), await open()];
        const reader = await RawClient.open(broker, 'a');
        const half = { fin: false, payload: 'x'.repeat(30000) };
        await one.sendFrame(half);
        await two.sendFrame(half);
        await partBytes(60000);

        await none.sendFrame(half);
        const refused = await none.readFrame();
        assert.equal(refused.opcode, OPCODE.CLOSE);
        assert.equal(refused.payload.readUInt16BE(0), 4100);
        const poster = await Wire.connect(broker);
        await poster.send('POST /v1/topics/a HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n\r\n' + 'x'.repeat(10000));
        const answer = await poster.readHttp();
        assert.equal(answer.status, 503);
        assert.equal(answer.json.error.code, 'busy');
        assert.ok(answer.headers['retry-after']);
        await poster.ended();
        assert.equal((await broker.stats()).partial_refusals, 2);

        const rest = await open();
        await rest.sendFrame({ fin: false, payload: 'x'.repeat(5000) });
        await partBytes(65000);
        assert.equal((await post(broker, 'a', 'w'.repeat(2000))).status, 200); // what comes at once needs no room
        assert.equal((await reader.inbox.take()).length, 2000);
        rest.cut();
        await partBytes(60000);

        await one.sendFrame({ opcode: OPCODE.CONTINUATION, payload: 'y' });
        assert.equal((await reader.inbox.take()).length, 30001);
        await partBytes(30000);
        two.cut();
        await partBytes(0);
        const chunked = await Wire.connect(broker);
        await chunked.send('POST /v1/topics/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n');
        await partBytes(3);
        await chunked.send('0\r\n\r\n');
        assert.equal((await chunked.readHttp()).status, 200);
        assert.equal(await reader.inbox.take(), 'abc');
        await partBytes(0);
    },
);

over('limits.header_bytes, and the number of header lines', { 'limits.header_bytes': 2048 }, async (broker) => {
    const fits = { headers: { 'x-long': 'x'.repeat(1500) } };
    assert.equal((await get(broker, '/v1/topics/a', fits)).status, 200);
    for (const text of [
        `GET /v1/topics/a HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(2048)}\r\n\r\n`,
        `GET /v1/topics/a HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(4096)}`,
        `GET /v1/topics/a HTTP/1.1\r\nHost: x\r\n${'X: y\r\n'.repeat(64)}\r\n`,
    ]) {
        const wire = await Wire.connect(broker);
        await wire.send(text);
        assert.equal((await wire.readHttp()).status, 431);
        await wire.ended();
    }
    const wire = await Wire.connect(broker);
    await wire.send(`GET /v1/topics/${'x'.repeat(3000)} HTTP/1.1\r\nHost: x\r\n\r\n`);
    assert.ok([414, 431].includes((await wire.readHttp()).status));
});

over(
    'limits.message_bytes closes with 1009, as soon as the header tells',
    { 'limits.message_bytes': '64K' },
    async (broker) => {
        const client = await JsonClient.open(broker);
        client.socket.send('x'.repeat(65_537));
        assert.equal(await client.closeCode(), 1009);
        const wire = await Wire.open(broker, '/v1/topics/a?mode=pub');
        await wire.send(frame({ length: 1n << 40n }).subarray(0, 14));
        assert.equal((await wire.readClose()).code, 1009);
        const fragments = await Wire.open(broker, '/v1/topics/a?mode=pub');
        await fragments.sendFrame({ fin: false, payload: 'x'.repeat(60_000) });
        await fragments.sendFrame({ fin: false, opcode: OPCODE.CONTINUATION, payload: 'x'.repeat(6000) });
        assert.equal((await fragments.readClose()).code, 1009);
        assert.equal((await broker.stats()).publishes, 0);
    },
);

over(
    'limits.message_bytes is what a message has, be it deflated to more',
    { 'limits.message_bytes': '64K' },
    async (broker) => {
        const client = await RawClient.open(broker, 'chance', {}, { deflate: { memLevel: 1 } });
        const publisher = await RawClient.open(broker, 'chance', { mode: 'pub' }, { deflate: { threshold: 0 } });
        const bytes = randomBytes(65_536);
        publisher.socket.send(bytes);
        assert.deepEqual(Buffer.from(await client.inbox.take()), bytes);
        publisher.socket.send(Buffer.concat([bytes, Buffer.of(0)]));
        assert.equal(await publisher.closeCode(), 1009);
    },
);

over('limits.subscriptions_per_connection', { 'limits.subscriptions_per_connection': 3 }, async (broker) => {
    const client = await JsonClient.open(broker);
    assert.equal(client.hello.limits.subscriptions_max, 3);
    for (const topic of ['a', 'b/#', 'c']) await client.subscribe(topic);
    assert.equal(await client.refusal('subscribe', { topic: 'd' }), 'subscriptions_limit');
    await client.unsubscribe('b/#');
    await client.subscribe('d');
});

over('limits.topics', { 'limits.topics': 8, 'broker.shards': 1, 'topics.idle_s': 1 }, async (broker) => {
    for (let n = 0; n < 8; n++) assert.equal((await post(broker, `t/${n}`, 'x')).status, 200);
    const refused = await post(broker, 't/8', 'x');
    assert.equal(refused.status, 503);
    assert.equal(refused.json.error.code, 'topics_limit');
    assert.equal(refused.json.error.retry, true);
    assert.match(refused.headers['retry-after'], /^[12]$/);
    const client = await JsonClient.open(broker);
    assert.equal(await client.refusal('publish', { topic: 't/8', data: 1 }), 'topics_limit');
    await until('idle ones to make room', async () => (await post(broker, 't/8', 'x')).status === 200);
    await client.subscribe('t/8');
});

over('limits.reply_bytes: who does not read its replies is closed', { 'limits.reply_bytes': '16K' }, async (broker) => {
    const wire = await Wire.open(broker, '/v1/ws');
    wire.pause();
    const pings = Buffer.concat(
        Array.from({ length: 500 }, () =>
            frame({ payload: '{"op":"ping","id":"a rather long id that comes back with each of the answers"}' }),
        ),
    );
    await until('it to be closed', async () => {
        await Promise.race([wire.send(pings), new Promise((resolve) => setTimeout(resolve, 20))]);
        return (await broker.stats()).reply_overflows === 1;
    });
    wire.cut();
    await broker.untilNothingIsLeft();
});

over(
    'limits.publish_inflight_*: who publishes too much at once is read later, and loses nothing',
    {
        'limits.publish_inflight_bytes': '4K',
        'limits.publish_inflight_messages': 2,
    },
    async (broker) => {
        const raw = await RawClient.open(broker, 'flow');
        const client = await JsonClient.open(broker);
        const published = client.atOnce(() =>
            Array.from({ length: 300 }, (_, n) => client.publish('flow', `${n} ${'x'.repeat(1000)}`)),
        );
        const answers = await Promise.all(published);
        assert.deepEqual(
            answers.map((answer) => answer.offset),
            Array.from({ length: 300 }, (_, n) => n + 1),
        );
        assert.deepEqual(
            (await raw.inbox.takeMany(300)).map((text) => parseInt(text.slice(1), 10)),
            Array.from({ length: 300 }, (_, n) => n),
        );
        assert.ok((await broker.stats()).publisher_pauses > 0);
    },
);

over('limits.accept_rate: who comes too fast waits, and gets in', { 'limits.accept_rate': 10 }, async (broker) => {
    const clients = await Promise.all(Array.from({ length: 30 }, () => JsonClient.open(broker)));
    assert.equal(clients.length, 30);
    assert.ok((await broker.stats()).accept_pauses > 0);
});

const TWO_KEYS = { 'publish.idempotency_keys': 2, 'broker.shards': 1 };
over('publish.idempotency_keys: the oldest is forgotten', TWO_KEYS, async (broker) => {
    const client = await JsonClient.open(broker);
    for (const key of ['one', 'two', 'three', 'three']) await client.publish('a', 1, { key });
    await broker.untilStats('the forgotten key to be counted', (stats) => stats.idempotency_evictions === 1);
    assert.equal((await client.publish('a', 1, { key: 'three' })).offset, 3);
    assert.equal((await client.publish('a', 1, { key: 'one' })).offset, 4);
});

over('publish.idempotency_keys=0 remembers none', { 'publish.idempotency_keys': 0 }, async (broker) => {
    const client = await JsonClient.open(broker);
    assert.equal((await client.publish('a', 1, { key: 'k' })).offset, 1);
    assert.equal((await client.publish('a', 1, { key: 'k' })).offset, 2);
});
