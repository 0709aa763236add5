/*
 * handshake_test: RFC 6455 section 4, the opening handshake as the server sees it.
 */
import assert from 'node:assert/strict';

import { Wire, acceptOf, frame, head, upgradeHeaders } from '../integration/harness/wire.mjs';
import { comesBack, connects, isWell, withEchoBroker } from './harness.mjs';

withEchoBroker();

connects('1.3, 4.2.2: the key of the RFC gets the accept value of the RFC', async (wire) => {
    const answer = await wire.upgrade('/v1/echo', { 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==' });
    assert.equal(answer.status, 101);
    assert.equal(answer.headers['sec-websocket-accept'], 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
});

connects('4.2.2: 101 with Upgrade, Connection and Accept, and nothing that was not asked for', async (wire) => {
    const answer = await wire.upgrade('/v1/echo');
    assert.match(answer.status_line, /^HTTP\/1\.1 101 /);
    assert.equal(answer.headers.upgrade.toLowerCase(), 'websocket');
    assert.equal(answer.headers.connection.toLowerCase(), 'upgrade');
    assert.equal(answer.headers['sec-websocket-accept'], acceptOf(answer.key));
    assert.equal(answer.headers['sec-websocket-protocol'], undefined);
    assert.equal(answer.headers['sec-websocket-extensions'], undefined);
    await isWell(wire);
});

connects('4.1, 4.2.1: header names and tokens in any case, and lists', async (wire, broker) => {
    await wire.send(
        head(
            'GET /v1/echo HTTP/1.1',
            upgradeHeaders(broker, {
                Host: undefined,
                HOST: broker.data,
                Upgrade: undefined,
                uPGRADE: 'h2c, WebSocket',
                Connection: undefined,
                connection: 'keep-alive, UPGRADE',
            }),
        ),
    );
    assert.equal((await wire.readHttp()).status, 101);
    await isWell(wire);
});

connects('4.2.1: the handshake byte by byte', async (wire, broker) => {
    await wire.sendByteByByte(head('GET /v1/echo HTTP/1.1', upgradeHeaders(broker)));
    assert.equal((await wire.readHttp()).status, 101);
    await isWell(wire);
});

connects('4.2.1: frames that come behind the handshake in one packet', async (wire, broker) => {
    await wire.send(
        Buffer.concat([
            Buffer.from(head('GET /v1/echo HTTP/1.1', upgradeHeaders(broker))),
            frame({ payload: 'early' }),
            frame({ payload: 'bird' }),
        ]),
    );
    assert.equal((await wire.readHttp()).status, 101);
    await comesBack(wire, 1, 'early');
    await comesBack(wire, 1, 'bird');
});

/* What is missing or wrong: the status that it gets, and the header lines that differ. */
const REFUSED = {
    '4.2.1 item 1: not GET': [405, {}, 'PUT /v1/echo HTTP/1.1'],
    '4.2.1 item 1: HTTP/1.0': [400, {}, 'GET /v1/echo HTTP/1.0'],
    '4.2.1 item 2: no Host': [400, { Host: undefined }],
    '4.2.1 item 3: no Upgrade': [426, { Upgrade: undefined }],
    '4.2.1 item 3: another Upgrade': [426, { Upgrade: 'h2c' }],
    '4.2.1 item 3: Upgrade that only begins so': [426, { Upgrade: 'websockets' }],
    '4.2.1 item 4: no Connection': [400, { Connection: undefined }],
    '4.2.1 item 4: another Connection': [400, { Connection: 'keep-alive' }],
    '4.2.1 item 5: no key': [400, { 'Sec-WebSocket-Key': undefined }],
    '4.2.1 item 5: an empty key': [400, { 'Sec-WebSocket-Key': '' }],
    '4.2.1 item 5: a key of 15 bytes': [400, { 'Sec-WebSocket-Key': Buffer.alloc(15, 7).toString('base64') }],
    '4.2.1 item 5: a key of 17 bytes': [400, { 'Sec-WebSocket-Key': Buffer.alloc(17, 7).toString('base64') }],
    '4.2.1 item 5: a key that is no base64': [400, { 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZS!ub25jZQ==' }],
    '11.3.1: two keys': [400, { 'Sec-WebSocket-Key': ['dGhlIHNhbXBsZSBub25jZQ==', 'dGhlIHNhbXBsZSBub25jZQ=='] }],
    '4.2.1 item 6: no version': [400, { 'Sec-WebSocket-Version': undefined }],
    '4.4: version 8': [426, { 'Sec-WebSocket-Version': '8' }],
    '4.4: version 14': [426, { 'Sec-WebSocket-Version': '14' }],
    '4.4: a version that is no number': [426, { 'Sec-WebSocket-Version': 'x' }],
    '9.1: extensions that are not well-formed': [400, { 'Sec-WebSocket-Extensions': 'permessage-deflate; =1' }],
    '9.1: an extension with a broken quote': [400, { 'Sec-WebSocket-Extensions': 'x; y="z' }],
    '11.3.4: a subprotocol that is no token': [400, { 'Sec-WebSocket-Protocol': 'a b' }],
};

for (const [what, [status, changes, request_line = 'GET /v1/echo HTTP/1.1']] of Object.entries(REFUSED)) {
    connects(`${what}: ${status}`, async (wire, broker) => {
        await wire.send(head(request_line, upgradeHeaders(broker, changes)));
        const answer = await wire.readHttp();
        assert.equal(answer.status, status);
        assert.ok(answer.json.error.message.length > 0);
        if (status === 426) {
            assert.equal(answer.headers['sec-websocket-version'], '13', '4.4: tells what it speaks');
            assert.match(answer.headers.upgrade, /websocket/i, 'RFC 9110 15.5.22');
        }
        const again = await Wire.connect(broker);
        assert.equal((await again.upgrade('/v1/echo')).status, 101, 'and the next one is served');
        again.cut();
    });
}

connects('4.2.2: a subprotocol that is not spoken here is not selected', async (wire) => {
    const answer = await wire.upgrade('/v1/echo', { 'Sec-WebSocket-Protocol': 'chat, superchat' });
    assert.equal(answer.status, 101);
    assert.equal(answer.headers['sec-websocket-protocol'], undefined);
});

connects('4.2.2: of subprotocols in several lines, one that is spoken is selected', async (wire) => {
    const answer = await wire.upgrade('/v1/ws', { 'Sec-WebSocket-Protocol': ['chat , mqtt', 'shoal.v1.json'] });
    assert.equal(answer.status, 101);
    assert.equal(answer.headers['sec-websocket-protocol'], 'shoal.v1.json');
});

connects('9.1: extensions that nobody knows are passed over', async (wire) => {
    const answer = await wire.upgrade('/v1/echo', {
        'Sec-WebSocket-Extensions': 'x-webkit-deflate-frame, foo; bar=1; baz="2"',
    });
    assert.equal(answer.status, 101);
    assert.equal(answer.headers['sec-websocket-extensions'], undefined);
    await isWell(wire);
});

connects('10.1: cookies, origins and other header lines do not matter', async (wire) => {
    const answer = await wire.upgrade('/v1/echo', {
        'Origin': 'http://evil.example',
        'Cookie': 'a=b; c=d',
        'X-Anything': '\t"quoted", ; =',
    });
    assert.equal(answer.status, 101);
    await isWell(wire);
});
