/*
 * hostile_test: requests and messages that are wrong, on purpose or not. Each gets its own error, the connection that
 * sent it is the only one that notices, and what was hidden behind it (request smuggling) is never worked.
 *
 * Broken frames are the conformance tests' part; here are those that come at a bad moment.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { withBroker } from './harness/broker.mjs';
import { history, publish } from './harness/http.mjs';
import { randomFrom, SEED } from './harness/random.mjs';
import { until } from './harness/wait.mjs';
import { Wire, frame } from './harness/wire.mjs';
import { JsonClient } from './harness/ws.mjs';

const over = (name, options, body) => test(name, () => withBroker(options, body));

/* What an attacker hides behind a request that two readers would understand differently. */
const HIDDEN = 'POST /v1/topics/victim HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nevil';

const post = (lines, body = '') => `POST /v1/topics/a HTTP/1.1\r\n${lines}\r\n\r\n${body}`;
const get = (lines) => `GET /v1/topics/a HTTP/1.1\r\n${lines}\r\n\r\n`;
const line = (text) => `${text}\r\nHost: x\r\n\r\n`;

/* What is wrong: the status, and the bytes. */
const BROKEN = {
    'two lengths that differ': [400, post('Host: x\r\nContent-Length: 5\r\nContent-Length: 6', 'hello')],
    'two lengths that are equal': [400, post('Host: x\r\nContent-Length: 5\r\nContent-Length: 5', 'hello')],
    'a list of lengths': [400, post('Host: x\r\nContent-Length: 5, 5', 'hello')],
    'a length with a sign': [400, post('Host: x\r\nContent-Length: +5', 'hello')],
    'a negative length': [400, post('Host: x\r\nContent-Length: -1')],
    'a length in hex': [400, post('Host: x\r\nContent-Length: 0x5', 'hello')],
    'an empty length': [400, post('Host: x\r\nContent-Length:')],
    'a length beyond 64 bits': [400, post('Host: x\r\nContent-Length: 18446744073709551621', 'hello')],
    'length and chunks': [400, post('Host: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked', '0\r\n\r\n')],
    'chunks and length': [400, post('Host: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5', '0\r\n\r\n')],
    'chunks in HTTP/1.0': [400, 'POST /v1/topics/a HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    'a coding that is not chunked': [501, post('Host: x\r\nTransfer-Encoding: gzip', '0\r\n\r\n')],
    'a coding before chunked': [501, post('Host: x\r\nTransfer-Encoding: gzip, chunked', '0\r\n\r\n')],
    'chunked twice': [[400, 501], post('Host: x\r\nTransfer-Encoding: chunked, chunked', '0\r\n\r\n')],
    'two codings lines': [
        [400, 501],
        post('Host: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity', '0\r\n\r\n'),
    ],
    'a coding in disguise': [[400, 501], post('Host: x\r\nTransfer-Encoding: \x0bchunked', '0\r\n\r\n')],
    'white space before a colon': [400, post('Host: x\r\nTransfer-Encoding : chunked', '0\r\n\r\n')],
    'a folded line': [400, post('Host: x\r\nContent-Length: 5\r\n , 6', 'hello')],
    'white space before the first header': [400, get(' X: y\r\nHost: x')],
    'a bare line feed between headers': [400, 'GET /v1/topics/a HTTP/1.1\nHost: x\r\n\r\n'],
    'bare line feeds at the end': [400, 'GET /v1/topics/a HTTP/1.1\r\nHost: x\n\n'],
    'a bare carriage return in a value': [400, get('Host: x\r\nX: a\rContent-Length: 5')],
    'a NUL in a value': [400, get('Host: x\r\nX: a\0b')],
    'a NUL in a name': [400, get('Host: x\r\nX\0: a')],
    'a name with a space': [400, get('Host: x\r\nX Y: a')],
    'an empty name': [400, get('Host: x\r\n: a')],
    'a line without a colon': [400, get('Host: x\r\nContent-Length')],
    'no Host': [400, 'GET /v1/topics/a HTTP/1.1\r\n\r\n'],
    'two Hosts': [400, get('Host: x\r\nHost: y')],
    'no version': [400, 'GET /v1/topics/a\r\nHost: x\r\n\r\n'],
    'a version in lower case': [400, line('GET /v1/topics/a http/1.1')],
    'HTTP/2.0': [505, line('GET /v1/topics/a HTTP/2.0')],
    'HTTP/1.1x': [400, line('GET /v1/topics/a HTTP/1.1x')],
    'two spaces': [400, line('GET  /v1/topics/a HTTP/1.1')],
    'a tab': [400, line('GET\t/v1/topics/a HTTP/1.1')],
    'a method that is no token': [400, line('G@T /v1/topics/a HTTP/1.1').replace('@', '(')],
    'a target without a slash': [400, line('GET v1/topics/a HTTP/1.1')],
    'a target with a NUL': [400, line('GET /v1/topics/a\0b HTTP/1.1')],
    'a target with a fragment': [400, line('GET /v1/topics/a#b HTTP/1.1')],
    'nothing but noise': [400, '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS hello\r\n\r\n'],
    'a chunk size that is no number': [400, post('Host: x\r\nTransfer-Encoding: chunked', 'xyz\r\nhello\r\n0\r\n\r\n')],
    'a chunk size with 0x': [400, post('Host: x\r\nTransfer-Encoding: chunked', '0x5\r\nhello\r\n0\r\n\r\n')],
    'a negative chunk size': [400, post('Host: x\r\nTransfer-Encoding: chunked', '-5\r\nhello\r\n0\r\n\r\n')],
    'a chunk size beyond 64 bits': [
        [400, 413],
        post('Host: x\r\nTransfer-Encoding: chunked', '10000000000000005\r\nhello\r\n'),
    ],
    'a chunk that is longer than it says': [
        400,
        post('Host: x\r\nTransfer-Encoding: chunked', '3\r\nhello\r\n0\r\n\r\n'),
    ],
    'a bare line feed after a chunk size': [
        400,
        post('Host: x\r\nTransfer-Encoding: chunked', '5\nhello\r\n0\r\n\r\n'),
    ],
    'a bare line feed in a chunk extension': [
        400,
        post('Host: x\r\nTransfer-Encoding: chunked', '5;a\n\r\nhello\r\n0\r\n\r\n'),
    ],
    'a broken trailer': [400, post('Host: x\r\nTransfer-Encoding: chunked', '0\r\nX : y\r\n\r\n')],
};

over(
    'requests that could be understood in two ways are refused, and nothing behind them is worked',
    {},
    async (broker) => {
        const witness = await JsonClient.open(broker);
        await witness.subscribe('victim');
        for (const [what, [expected, text]] of Object.entries(BROKEN)) {
            const wire = await Wire.connect(broker);
            await wire.send(Buffer.from(text + HIDDEN, 'latin1'));
            const answer = await wire.readHttp();
            assert.ok([expected].flat().includes(answer.status), `${what}: answered by ${answer.status_line}`);
            assert.equal(answer.headers.connection, 'close', what);
            assert.equal(answer.json.error.code, answer.status === 413 ? 'payload_too_large' : 'bad_request', what);
            await wire.ended();
            assert.equal(wire.bytes.length, 0, `${what}: one answer, and nothing behind it`);
            wire.cut();
        }
        assert.equal((await history(broker, 'victim')).offset, 0);
        await publish(broker, 'victim', 'well');
        assert.equal((await witness.inbox.take()).data, 'well');
        const stats = await broker.stats();
        assert.equal(stats.publishes, 1);
        assert.ok(stats.handshakes_failed >= Object.keys(BROKEN).length);
    },
);

over('the same, byte by byte', {}, async (broker) => {
    const some = ['two lengths that differ', 'length and chunks', 'a folded line', 'a chunk size with 0x', 'no Host'];
    for (const what of some) {
        const [expected, text] = BROKEN[what];
        const wire = await Wire.connect(broker);
        await wire.sendByteByByte(text);
        assert.equal((await wire.readHttp()).status, expected, what);
    }
});

over('a body that is refused unread is never taken for the next request', {}, async (broker) => {
    for (const target of ['/nothing', '/v1/topics/a//b', '/v1/topics/a%2B', '/v1/ws', '/v1/topics/$SYS/a']) {
        const wire = await Wire.connect(broker);
        await wire.send(`POST ${target} HTTP/1.1\r\nHost: x\r\nContent-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`);
        const { status } = await wire.readHttp();
        assert.ok(status >= 400, target);
        await wire.ended();
    }
    assert.deepEqual((await history(broker, 'victim')).messages, []);
});

over('requests by the thousand whose answers are not read', {}, async (broker) => {
    const wire = await Wire.connect(broker);
    const pair = `${line('GET /0 HTTP/1.1')}${post('Host: x\r\nExpect: 100-continue')}`;
    wire.socket.pause();
    wire.send(pair.repeat(12_000)).catch(() => {}); // the broker ends it in the middle
    await until('the answers to be too many', async () => (await broker.stats()).reply_overflows > 0);
    wire.cut();
    await broker.untilNothingIsLeft();
});

over('odd, but right', {}, async (broker) => {
    const right = {
        'an empty line before the request': '\r\nGET /v1/topics/a HTTP/1.1\r\nHost: x\r\n\r\n',
        'an absolute target': 'GET http://y/v1/topics/a HTTP/1.1\r\nHost: x\r\n\r\n',
        'a later minor version': 'GET /v1/topics/a HTTP/1.9\r\nHost: x\r\n\r\n',
        'header names in any case, white space around values':
            'GET /v1/topics/a HTTP/1.1\r\nhOsT:\t x \t\r\nX:\r\n\r\n',
        'bytes above ASCII in a value': 'GET /v1/topics/a HTTP/1.1\r\nHost: x\r\nX: gr\xfcn\r\n\r\n',
        'a length with zeros': 'POST /v1/topics/b HTTP/1.1\r\nHost: x\r\nContent-Length: 0002\r\n\r\nok',
    };
    for (const [what, text] of Object.entries(right)) {
        const wire = await Wire.connect(broker);
        await wire.send(Buffer.from(text, 'latin1'));
        assert.equal((await wire.readHttp()).status, 200, what);
        wire.cut();
    }
    const old = await Wire.connect(broker);
    await old.send('GET /v1/topics/a HTTP/1.0\r\n\r\n');
    assert.equal((await old.readHttp()).status, 200, 'HTTP/1.0 needs no Host');
    await old.ended();
});

/* What is wrong with a message of the JSON dialect: the code, and the text. */
const WRONG_MESSAGES = {
    'nothing': ['message_invalid', ''],
    'no object': ['message_invalid', '[]'],
    'a string': ['message_invalid', '"subscribe"'],
    'half an object': ['message_invalid', '{"op":"ping"'],
    'two objects': ['message_invalid', '{"op":"ping"}{"op":"ping"}'],
    'a comma too many': ['message_invalid', '{"op":"ping",}'],
    'single quotes': ['message_invalid', "{'op':'ping'}"],
    'a control character': ['message_invalid', '{"op":"ping\u0001"}'],
    'too deep': ['message_invalid', `{"op":"publish","topic":"a","data":${'['.repeat(100)}${']'.repeat(100)}}`],
    'no op': ['field_missing', '{"id":1}'],
    'an op that is unknown': ['op_unknown', '{"op":"explode"}'],
    'an op that is no string': ['field_invalid', '{"op":7}'],
    'a field twice': ['field_invalid', '{"op":"publish","topic":"a","topic":"b","data":1}'],
    'an id that is an object': ['field_invalid', '{"op":"ping","id":{}}'],
    'an id that is too long': ['field_invalid', `{"op":"ping","id":"${'x'.repeat(63)}"}`],
    'no topic': ['field_missing', '{"op":"subscribe"}'],
    'a topic that is a number': ['field_invalid', '{"op":"subscribe","topic":7}'],
    'an empty topic': ['topic_invalid', '{"op":"subscribe","topic":""}'],
    'an empty level': ['topic_invalid', '{"op":"subscribe","topic":"a//b"}'],
    'a topic with a NUL': ['topic_invalid', '{"op":"subscribe","topic":"a\\u0000b"}'],
    'a topic with half a surrogate': [['topic_invalid', 'message_invalid'], '{"op":"subscribe","topic":"\\ud800"}'],
    'a topic that is too long': ['topic_invalid', `{"op":"subscribe","topic":"${'x'.repeat(256)}"}`],
    'a filter that is none': ['filter_invalid', '{"op":"subscribe","topic":"a/#/b"}'],
    'a plus in a level': ['filter_invalid', '{"op":"subscribe","topic":"a+/b"}'],
    'publish to a filter': ['not_a_topic', '{"op":"publish","topic":"a/+","data":1}'],
    'publish to the broker': ['topic_reserved', '{"op":"publish","topic":"$SYS/a","data":1}'],
    'publish nothing': ['field_missing', '{"op":"publish","topic":"a"}'],
    'publish two things': ['field_invalid', '{"op":"publish","topic":"a","data":1,"data_base64":"AA=="}'],
    'base64 that is none': ['field_invalid', '{"op":"publish","topic":"a","data_base64":"A"}'],
    'an empty key': ['field_invalid', '{"op":"publish","topic":"a","data":1,"key":""}'],
    'unsubscribe from what is not followed': ['not_subscribed', '{"op":"unsubscribe","topic":"a"}'],
    'from nowhere': ['field_invalid', '{"op":"subscribe","topic":"a","from":"there"}'],
    'an offset that is negative': ['field_invalid', '{"op":"subscribe","topic":"a","from":{"epoch":"1","offset":-1}}'],
    'an offset beyond 64 bits': [
        'field_invalid',
        '{"op":"subscribe","topic":"a","from":{"epoch":"1","offset":18446744073709551616}}',
    ],
    'no token': ['field_missing', '{"op":"auth"}'],
};

over('JSON messages that are wrong get their error, and the connection goes on', {}, async (broker) => {
    const wire = await Wire.open(broker, '/v1/ws');
    await wire.readText();
    const last = Object.entries(WRONG_MESSAGES);
    for (const [what, [code, text]] of last) {
        await wire.sendText(text);
        const reply = JSON.parse(await wire.readText());
        assert.equal(reply.op, 'error', what);
        assert.ok([code].flat().includes(reply.code), `${what}: ${reply.code}`);
        assert.equal(typeof reply.message, 'string', what);
        assert.equal(typeof reply.retry, 'boolean', what);
    }
    await wire.sendFrame({ opcode: 2, payload: '{"op":"ping"}' });
    assert.equal(JSON.parse(await wire.readText()).code, 'message_invalid', 'a binary frame');
    await wire.sendText('{"op":"ping","id":"still here","unknown":[1,{"x":null}]}');
    const { op, id } = JSON.parse(await wire.readText());
    assert.deepEqual({ op, id }, { op: 'pong', id: 'still here' });
    assert.equal((await broker.stats()).commands_refused, last.length + 1);
});

over('ids come back as they were written', {}, async (broker) => {
    const wire = await Wire.open(broker, '/v1/ws');
    await wire.readText();
    for (const id of [
        '1',
        '-0',
        '1.50',
        '1e3',
        '12345678901234567890',
        '"a"',
        '"\\u0041\\n"',
        '""',
        `"${'x'.repeat(62)}"`,
    ]) {
        await wire.sendText(`{"op":"ping","id":${id}}`);
        assert.ok((await wire.readText()).includes(`"id":${id}`), id);
        await wire.sendText(`{"id":${id},"op":"nonsense"}`);
        assert.ok((await wire.readText()).includes(`"id":${id}`), id);
    }
    await wire.sendText('{"op":"ping","id":null}');
    assert.equal(JSON.parse(await wire.readText()).code, 'field_invalid');
});

over(
    `noise of all kinds, while others work (SHOAL_SEED=${SEED})`,
    { shards: 5, set: { 'debug.echo': true } },
    async (broker) => {
        const random = randomFrom(SEED);
        const noise = (size) => Buffer.from(Array.from({ length: size }, () => random(256)));
        const witness = await JsonClient.open(broker);
        await witness.subscribe('witness');
        for (let n = 0; n < 200; n++) {
            const path = ['/v1/ws', '/v1/echo', '/v1/topics/n', null][random(4)];
            const headers = random(2) ? { 'Sec-WebSocket-Extensions': 'permessage-deflate' } : {};
            const wire = path ? await Wire.open(broker, path, { headers }) : await Wire.connect(broker);
            for (let part = random(5); part >= 0; part--) {
                const right = frame({
                    payload: noise(random(200)),
                    opcode: [1, 2, 9][random(3)],
                    rsv: [0, 0, 4][random(3)],
                });
                await wire.send(random(2) ? noise(1 + random(500)) : right);
            }
            if (n % 20 === 0) {
                await publish(broker, 'witness', n);
                assert.equal((await witness.inbox.take()).data, n);
            }
            wire.cut();
        }
        await witness.close();
        await broker.untilNothingIsLeft();
    },
);
