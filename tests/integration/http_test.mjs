/*
 * http_test: the topic URL as plain HTTP: publishing by POST in all its forms, server-sent events and their resume,
 * history, and every error with its status and code. Where bytes matter they are written out by hand.
 */
import assert from 'node:assert/strict';
import http from 'node:http';
import { test } from 'node:test';

import { withBroker } from './harness/broker.mjs';
import { Curl, EventStream, get, history, positionOf, post, publish, request } from './harness/http.mjs';
import { Wire } from './harness/wire.mjs';
import { JsonClient, RawClient, topicPath } from './harness/ws.mjs';

const KEEPS_HISTORY = { set: { 'namespace.default.history_messages': 2000 } };
const over = (name, options, body) => test(name, () => withBroker(options, body));

/* The kind under which a POST with this type comes out of the JSON dialect. */
async function shownAs(broker, client, topic, body, type) {
    const answer = await post(broker, topic, body, type === undefined ? {} : { 'content-type': type });
    assert.equal(answer.status, 200, answer.text);
    const message = await client.inbox.take();
    assert.equal(message.offset, answer.json.offset);
    return message;
}

over('POST: the content type gives the kind', {}, async (broker) => {
    const client = await JsonClient.open(broker);
    await client.subscribe('kinds');
    const shown = (body, type) => shownAs(broker, client, 'kinds', body, type);
    for (const type of ['text/plain', 'text/html; charset=utf-8', 'application/x-www-form-urlencoded', undefined]) {
        assert.equal((await shown('grün', type)).data, 'grün', type);
        assert.equal((await shown(Buffer.from('fffe', 'hex'), type)).data_base64, '//4=', type);
    }
    for (const type of ['application/json', 'APPLICATION/JSON; charset=utf-8'])
        assert.deepEqual((await shown('{"n":[1,2]}', type)).data, { n: [1, 2] }, type);
    for (const type of ['application/octet-stream', 'image/png'])
        assert.equal((await shown('abc', type)).data_base64, 'YWJj', type);
    assert.equal((await shown('', 'text/plain')).data, '');
    assert.equal((await shown('', undefined)).data, '');
});

over('POST: JSON is passed on byte for byte, and checked', {}, async (broker) => {
    const raw = await RawClient.open(broker, 'verbatim');
    const type = { 'content-type': 'application/json' };
    const written = ' {"z" :1.50, "a":\n"\\u00fc",  "big":12345678901234567890} ';
    assert.equal((await post(broker, 'verbatim', written, type)).status, 200);
    assert.equal((await raw.inbox.take()).trim(), written.trim());
    for (const broken of ['', '{', '{"a":1}x', "{'a':1}", '[1,]', 'NaN', '"\u0001"', Buffer.from('22ff22', 'hex')]) {
        const answer = await post(broker, 'verbatim', broken, type);
        assert.equal(answer.status, 400, broken);
        assert.equal(answer.json.error.code, 'message_invalid');
        assert.equal(answer.json.error.retry, false);
        assert.ok(answer.json.error.message.length > 0);
    }
    assert.equal((await post(broker, 'verbatim', '1', type)).status, 200);
    assert.equal(await raw.inbox.take(), '1');
});

over('POST: chunked, in pieces of every size, with extensions and trailers', {}, async (broker) => {
    const raw = await RawClient.open(broker, 'chunked');
    const wire = await Wire.connect(broker);
    const start =
        'POST /v1/topics/chunked HTTP/1.1\r\nHost: x\r\n' +
        'Transfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n';
    const bodies = [
        ['5\r\nhello\r\n0\r\n\r\n', 'hello'],
        ['1\r\na\r\n2;name=value\r\nbc\r\n0003\r\ndef\r\n0\r\nTrailer: yes\r\n\r\n', 'abcdef'],
        [`${(5000).toString(16).toUpperCase()}\r\n${'x'.repeat(5000)}\r\n0\r\n\r\n`, 'x'.repeat(5000)],
        ['0\r\n\r\n', ''],
    ];
    for (const [body, expected] of bodies) {
        await wire.send(start + body);
        assert.equal((await wire.readHttp()).status, 200);
        assert.equal(await raw.inbox.take(), expected);
    }
    await wire.sendByteByByte(start + '4\r\nslow\r\n0\r\n\r\n');
    assert.equal((await wire.readHttp()).status, 200);
    assert.equal(await raw.inbox.take(), 'slow');
});

over('POST: Expect: 100-continue, by hand and by curl', {}, async (broker) => {
    const raw = await RawClient.open(broker, 'continue');
    const wire = await Wire.connect(broker);
    await wire.send(
        'POST /v1/topics/continue HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n',
    );
    assert.equal((await wire.readHttp()).status, 100);
    await wire.send('wait');
    assert.equal((await wire.readHttp()).status, 200);
    assert.equal(await raw.inbox.take(), 'wait');

    const large = broker.file('large', 'y'.repeat(900_000));
    const { stdout } = await Curl.run(broker, [
        '-H',
        'Expect: 100-continue',
        '-H',
        'Content-Type: text/plain',
        '--data-binary',
        `@${large}`,
        broker.url('/v1/topics/continue'),
    ]);
    assert.equal(JSON.parse(stdout).offset, 2);
    assert.equal((await raw.inbox.take()).length, 900_000);
});

over('POST: one connection serves request after request, also those that come early', {}, async (broker) => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    for (let offset = 1; offset <= 20; offset++)
        assert.equal((await publish(broker, 'alive', offset, { agent })).offset, offset);
    const stats = await broker.stats();
    assert.equal(stats.connections_accepted, 1);
    agent.destroy();

    const wire = await Wire.connect(broker);
    const one = (body) => `POST /v1/topics/alive HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    await wire.send(one('a') + one('bb') + 'GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n' + one('ccc'));
    const answers = [];
    for (let n = 0; n < 4; n++) answers.push(await wire.readHttp());
    assert.deepEqual(
        answers.map((answer) => answer.status),
        [200, 200, 404, 200],
    );
    assert.deepEqual(
        answers.filter((answer) => answer.status === 200).map((answer) => answer.json.offset),
        [21, 22, 23],
    );

    await wire.send('POST /v1/topics/alive HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1\r\n\r\nz');
    assert.equal((await wire.readHttp()).json.offset, 24);
    await wire.ended();
    await broker.untilNothingIsLeft();
});

over('POST: an idempotency key makes it safe to repeat', { shards: 5 }, async (broker) => {
    const raw = await RawClient.open(broker, 'orders');
    const json = await JsonClient.open(broker);
    const key = (value) => ({ 'idempotency-key': value });
    const first = (await post(broker, 'orders', 'paid', key('order-17'))).json;
    for (let n = 0; n < 3; n++) assert.deepEqual((await post(broker, 'orders', 'paid', key('order-17'))).json, first);
    const { epoch, offset } = await json.publish('orders', 'paid', { key: 'order-17' });
    assert.deepEqual({ epoch, offset }, first);
    assert.equal((await post(broker, 'orders', 'other', key('order-18'))).json.offset, first.offset + 1);
    assert.equal((await post(broker, 'orders/2', 'paid', key('order-17'))).json.offset, 1);
    assert.deepEqual(await raw.inbox.takeMany(2), ['paid', 'other']);

    assert.equal((await post(broker, 'orders', 'x', key('k'.repeat(128)))).status, 200);
    const refused = await post(broker, 'orders', 'x', key('k'.repeat(129)));
    assert.equal(refused.status, 400);
    assert.equal(refused.json.error.code, 'key_too_long');
    assert.equal(await json.refusal('publish', { topic: 'orders', data: 1, key: 'k'.repeat(129) }), 'key_too_long');
    assert.ok((await broker.stats()).publishes_repeated >= 4);
});

over('POST: an idempotency key is not empty, and there is one', {}, async (broker) => {
    for (const keys of ['Idempotency-Key:', 'Idempotency-Key: a\r\nIdempotency-Key: b']) {
        const wire = await Wire.connect(broker);
        await wire.send(`POST /v1/topics/orders HTTP/1.1\r\nHost: x\r\n${keys}\r\nContent-Length: 1\r\n\r\nz`);
        const answer = await wire.readHttp();
        assert.equal(answer.status, 400, keys);
        assert.equal(answer.json.error.code, 'field_invalid');
        wire.cut();
    }
});

over('POST: many at once with one key publish once', { shards: 5 }, async (broker) => {
    const raw = await RawClient.open(broker, 'race');
    const answers = await Promise.all(
        Array.from({ length: 20 }, () => post(broker, 'race', 'once', { 'idempotency-key': 'the-one' })),
    );
    assert.deepEqual(
        answers.map((answer) => answer.json.offset),
        Array(20).fill(1),
    );
    await publish(broker, 'race', 'end');
    assert.deepEqual(await raw.inbox.takeMany(2), ['once', '"end"']);
});

over(
    'POST: payloads up to the limit of the namespace',
    {
        set: { 'namespace.small.prefix': 'small/', 'namespace.small.payload_bytes_max': 100 },
    },
    async (broker) => {
        assert.equal((await post(broker, 'small/a', 'x'.repeat(100))).status, 200);
        const refused = await post(broker, 'small/a', 'x'.repeat(101));
        assert.equal(refused.status, 413);
        assert.equal(refused.json.error.code, 'payload_too_large');
        assert.equal((await post(broker, 'big', 'x'.repeat(1 << 20))).status, 200);

        const wire = await Wire.connect(broker);
        await wire.send(`POST /v1/topics/big HTTP/1.1\r\nHost: x\r\nContent-Length: ${(1 << 20) + 1}\r\n\r\n`);
        assert.equal((await wire.readHttp()).status, 413, 'told by the length alone');
        const chunked = await Wire.connect(broker);
        await chunked.send(
            'POST /v1/topics/small/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFF\r\nabc',
        );
        assert.equal((await chunked.readHttp()).status, 413, 'told by the size of a chunk');
        const json = await JsonClient.open(broker);
        assert.equal(await json.refusal('publish', { topic: 'small/a', data: 'x'.repeat(99) }), 'payload_too_large');
        const raw = await RawClient.open(broker, 'small/a', { mode: 'pub' });
        raw.send('x'.repeat(101));
        assert.equal(await raw.closeCode(), 4413);
    },
);

over('SSE: lines, binary, and the position of each', {}, async (broker) => {
    const events = await EventStream.open(broker, 'sse/forms');
    assert.match(events.response.headers['content-type'], /^text\/event-stream/);
    assert.equal(events.response.headers['cache-control'], 'no-store');
    const { epoch, offset } = JSON.parse(events.opened.data);
    assert.deepEqual(positionOf(events.opened.id), { epoch, offset });
    for (const text of [
        'one',
        'two\nlines',
        '',
        '\n',
        'data: not a field\n\nid: nor this',
        ': no comment',
        'cr\rlf\r\nend\n',
    ])
        await post(broker, 'sse/forms', text, { 'content-type': 'text/plain' });
    const seen = await events.inbox.takeMany(7);
    assert.deepEqual(
        seen.map((event) => event.data),
        ['one', 'two\nlines', '', '\n', 'data: not a field\n\nid: nor this', ': no comment', 'cr\nlf\nend\n'],
    );
    assert.deepEqual(
        seen.map((event) => event.id),
        [1, 2, 3, 4, 5, 6, 7].map((n) => `${epoch}:${n}`),
    );
});

over('SSE: Last-Event-ID and ?from= resume without loss', { ...KEEPS_HISTORY, shards: 5 }, async (broker) => {
    const first = await EventStream.open(broker, 'sse/resume');
    for (let n = 1; n <= 10; n++) await publish(broker, 'sse/resume', n);
    const seen = await first.inbox.takeMany(5);
    first.cut();
    for (let n = 11; n <= 20; n++) await publish(broker, 'sse/resume', n);
    const last_id = seen.at(-1).id;
    const streams = [
        await EventStream.open(broker, 'sse/resume', {}, { 'last-event-id': last_id }),
        await EventStream.open(broker, 'sse/resume', { from: last_id }),
        await EventStream.open(broker, 'sse/resume', { from: 'new' }, { 'last-event-id': last_id }),
    ];
    await publish(broker, 'sse/resume', 21);
    for (const stream of streams) {
        assert.equal(JSON.parse(stream.opened.data).recovered, true);
        assert.equal(stream.opened.id, last_id);
        assert.deepEqual(
            (await stream.inbox.takeMany(16)).map((event) => Number(event.data)),
            Array.from({ length: 16 }, (_, n) => n + 6),
        );
    }
    const last = await EventStream.open(broker, 'sse/resume', { from: 'last' });
    assert.equal((await last.inbox.take()).data, '21');
});

over(
    'SSE: a position that is gone, of another epoch, or from the future',
    {
        set: { 'namespace.default.history_messages': 3 },
    },
    async (broker) => {
        let epoch;
        for (let n = 1; n <= 10; n++) ({ epoch } = await publish(broker, 'sse/lost', n));
        const stream = await EventStream.open(broker, 'sse/lost', {}, { 'last-event-id': `${epoch}:2` });
        assert.equal(JSON.parse(stream.opened.data).recovered, false);
        const gap = await stream.inbox.take();
        assert.equal(gap.event, 'gap');
        const { from, to, reason } = JSON.parse(gap.data);
        assert.deepEqual({ from, to, reason }, { from: 3, to: 7, reason: 'expired' });
        assert.deepEqual(
            (await stream.inbox.takeMany(3)).map((event) => event.data),
            ['8', '9', '10'],
        );

        const other = await EventStream.open(broker, 'sse/lost', {}, { 'last-event-id': 'deadbeefdeadbeef:4' });
        const told = JSON.parse((await other.inbox.take()).data);
        assert.deepEqual({ from: told.from, to: told.to, reason: told.reason }, { from: 0, to: 7, reason: 'epoch' });
        assert.equal((await other.inbox.take()).data, '8');

        const accept = { headers: { accept: 'text/event-stream' } };
        const future = await get(broker, `/v1/topics/sse/lost?from=${epoch}:11`, accept);
        assert.equal(future.status, 400);
        assert.equal(future.json.error.code, 'position_invalid');
        const last = await get(broker, '/v1/topics/sse/%2B?from=last', accept);
        assert.equal(last.json.error.code, 'unsupported', 'of a filter');
        for (const from of ['', 'never', `${epoch}:`, `:4`, `${epoch}:x`, `${epoch}:-1`]) {
            const answer = await get(broker, `/v1/topics/sse/lost?from=${from}`, accept);
            assert.equal(answer.status, 400, `from=${from}`);
            assert.equal(answer.json.error.code, 'field_invalid', `from=${from}`);
        }
    },
);

over('history: all, the last few, after a position, page by page', { ...KEEPS_HISTORY, shards: 5 }, async (broker) => {
    const empty = await history(broker, 'past');
    assert.deepEqual(
        { ...empty, epoch: undefined },
        { topic: 'past', epoch: undefined, first: 1, offset: 0, messages: [], more: false },
    );
    const begin = Date.now();
    for (let n = 1; n <= 150; n++) await publish(broker, 'past', { n });
    await post(broker, 'past', 'text', { 'content-type': 'text/plain' });
    await post(broker, 'past', Buffer.from([0xff]), { 'content-type': 'image/png' });

    const page = await history(broker, 'past');
    assert.equal(page.topic, 'past');
    assert.equal(page.offset, 152);
    assert.equal(page.messages.length, 100);
    assert.deepEqual(
        page.messages.map((message) => message.offset),
        Array.from({ length: 100 }, (_, n) => n + 53),
    );
    assert.deepEqual(
        page.messages.slice(-3).map(({ data, data_base64 }) => ({ data, data_base64 })),
        [
            { data: { n: 150 }, data_base64: undefined },
            { data: 'text', data_base64: undefined },
            { data: undefined, data_base64: '/w==' },
        ],
    );
    for (const message of page.messages) assert.ok(message.time_ms >= begin - 5 && message.time_ms <= Date.now() + 5);

    const seen = [];
    let from = `${page.epoch}:0`;
    for (let more = true; more;) {
        const part = await history(broker, 'past', { from, limit: 40 });
        assert.ok(part.messages.length <= 40);
        seen.push(...part.messages.map((message) => message.offset));
        from = `${part.epoch}:${seen.at(-1)}`;
        more = part.more;
    }
    assert.deepEqual(
        seen,
        Array.from({ length: 152 }, (_, n) => n + 1),
    );
    assert.deepEqual(
        (await history(broker, 'past', { limit: 2 })).messages.map((message) => message.offset),
        [151, 152],
    );
    assert.deepEqual((await history(broker, 'past', { from: `${page.epoch}:152` })).messages, []);
    for (const limit of ['0', 'x', '-1', '1.5', '']) {
        const answer = await get(broker, `/v1/topics/past?limit=${limit}`);
        assert.equal(answer.status, 400, `limit=${limit}`);
        assert.equal(answer.json.error.code, 'field_invalid', `limit=${limit}`);
    }
});

over('history: no more than some 4 MiB in one answer', KEEPS_HISTORY, async (broker) => {
    const large = 'z'.repeat(1_000_000);
    for (let n = 0; n < 6; n++) await publish(broker, 'heavy', large);
    const { epoch } = await history(broker, 'heavy', { limit: 1 });
    const seen = [];
    for (let more = true; more;) {
        const part = await history(broker, 'heavy', { from: `${epoch}:${seen.at(-1) ?? 0}` });
        assert.ok(part.messages.length >= 1 && part.messages.length <= 5);
        for (const message of part.messages) assert.equal(message.data.length, 1_000_000);
        seen.push(...part.messages.map((message) => message.offset));
        more = part.more;
    }
    assert.deepEqual(seen, [1, 2, 3, 4, 5, 6]);
});

over(
    'history: bounded by count, and by bytes',
    {
        set: {
            'namespace.few.prefix': 'few/',
            'namespace.few.history_messages': 5,
            'namespace.thin.prefix': 'thin/',
            'namespace.thin.history_messages': 1000,
            'namespace.thin.history_bytes': '16K',
        },
    },
    async (broker) => {
        for (let n = 1; n <= 200; n++) {
            await publish(broker, 'few/a', n);
            await publish(broker, 'thin/a', 'x'.repeat(1000));
            await publish(broker, 'none', n);
        }
        assert.deepEqual(
            (await history(broker, 'few/a', { limit: 1000 })).messages.map(({ data }) => data),
            [196, 197, 198, 199, 200],
        );
        const thin = (await history(broker, 'thin/a', { limit: 1000 })).messages;
        assert.ok(thin.length >= 8 && thin.length <= 17, `${thin.length} messages of 1 KB in 16 KB`);
        assert.equal(thin.at(-1).offset, 200);
        const none = await history(broker, 'none', { limit: 1000 });
        assert.deepEqual({ offset: none.offset, messages: none.messages }, { offset: 200, messages: [] });
    },
);

over('topics in the URL: encoded, decoded, refused', {}, async (broker) => {
    const client = await JsonClient.open(broker);
    await client.subscribe('#');
    const spellings = {
        'a/b': ['a/b', 'a%2Fb', '%61/%62'],
        'grün ☃': ['gr%C3%BCn%20%E2%98%83'],
        'a?b': ['a%3Fb'],
        'x%y': ['x%25y'],
    };
    for (const [topic, forms] of Object.entries(spellings)) {
        for (const form of forms) {
            assert.equal((await request(broker, 'POST', `/v1/topics/${form}`, { body: '1' })).status, 200, form);
            assert.equal((await client.inbox.take()).topic, topic, form);
        }
    }
    const longest = 'l'.repeat(255);
    assert.equal((await post(broker, longest, '1')).status, 200);
    const refused = {
        topic_invalid: ['', '/a', 'a/', 'a//b', '%00', 'a%0Ab', '%FF', `${longest}x`],
        not_a_topic: ['a/+', '%23', 'a/%23'],
        filter_invalid: ['a+', '%23/a'],
    };
    for (const [code, forms] of Object.entries(refused)) {
        for (const form of forms) {
            const answer = await request(broker, 'POST', `/v1/topics/${form}`, { body: '1' });
            assert.equal(answer.status, 400, form);
            if (code !== 'filter_invalid') assert.equal(answer.json.error.code, code, form);
        }
    }
    const reserved = await request(broker, 'POST', '/v1/topics/$SYS/x', { body: '1' });
    assert.equal(reserved.status, 403);
    assert.equal(reserved.json.error.code, 'topic_reserved');
    assert.equal((await get(broker, '/v1/topics/a/%23')).json.error.code, 'not_a_topic');
    const broken = await request(broker, 'POST', '/v1/topics/a%zz', { body: '1' });
    assert.equal(broken.status, 400);
});

over('HEAD tells what GET would, without the body, and opens no stream', {}, async (broker) => {
    await publish(broker, 'head', 'x');
    const wire = await Wire.connect(broker);
    const request_of = (method, accept) => `${method} /v1/topics/head HTTP/1.1\r\nHost: x\r\nAccept: ${accept}\r\n\r\n`;
    for (const accept of ['*/*', 'text/event-stream']) {
        await wire.send(request_of('HEAD', accept));
        const end = await wire.read('the head', (bytes) =>
            bytes.includes('\r\n\r\n') ? bytes.indexOf('\r\n\r\n') + 4 : null,
        );
        assert.match(wire.take(end).toString(), /^HTTP\/1\.1 200 /, accept);
    }
    await wire.send(request_of('GET', '*/*'));
    assert.equal((await wire.readHttp()).json.offset, 1, 'and the next answer begins right behind');
});

over('errors of plain HTTP: paths, methods, and what a browser asks first', {}, async (broker) => {
    for (const path of ['/', '/v1', '/v1/', '/v2/topics/a', '/v1/topic/a', '/v1/echo', '/favicon.ico']) {
        const answer = await get(broker, path);
        assert.equal(answer.status, 404, path);
        assert.equal(answer.json.error.code, 'not_found', path);
        assert.equal(answer.headers['access-control-allow-origin'], '*');
    }
    for (const method of ['PUT', 'DELETE', 'PATCH', 'PURGE']) {
        const answer = await request(broker, method, '/v1/topics/a');
        assert.equal(answer.status, 405, method);
        assert.equal(answer.json.error.code, 'method_not_allowed', method);
        assert.match(answer.headers.allow, /GET/);
    }
    const plain = await get(broker, '/v1/ws');
    assert.equal(plain.status, 426);
    assert.equal(plain.json.error.code, 'upgrade_required');
    assert.match(plain.headers.upgrade, /websocket/i);

    const preflight = await request(broker, 'OPTIONS', topicPath('a'), {
        headers: {
            'origin': 'http://elsewhere',
            'access-control-request-method': 'POST',
            'access-control-request-headers': 'content-type,idempotency-key,authorization',
        },
    });
    assert.equal(preflight.status, 204);
    assert.equal(preflight.headers['access-control-allow-origin'], '*');
    assert.match(preflight.headers['access-control-allow-methods'], /POST/);
    for (const name of ['content-type', 'idempotency-key', 'authorization', 'last-event-id'])
        assert.match(preflight.headers['access-control-allow-headers'].toLowerCase(), new RegExp(name), name);
    assert.equal((await post(broker, 'a', 'x')).headers['access-control-allow-origin'], '*');
    await broker.untilNothingIsLeft();
});
