/*
 * deflate_test: RFC 7692, permessage-deflate: what is agreed on for every offer, and messages deflated in every way
 * that a client may choose. Whatever was agreed on, each of the server's messages can be inflated alone, because one
 * copy serves all subscribers: all tests inflate what they get with a fresh window.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import zlib from 'node:zlib';

import { OPCODE, deflated, frame, inflated } from '../integration/harness/wire.mjs';
import { MESSAGE_BYTES_MAX, comesBack, connects, echoes, fails, withEchoBroker } from './harness.mjs';

withEchoBroker();

const { CONTINUATION, TEXT, BINARY, PING, PONG } = OPCODE;
const RSV1 = 4;
const OFFER = { 'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits' };
const deflates = (name, body) => echoes(name, body, OFFER);

/* The name and the parameters of the one extension that an answer has; undefined: none. */
function agreedOn(answer) {
    const line = answer.headers['sec-websocket-extensions'];
    if (line === undefined) return undefined;
    const [name, ...parameters] = line.split(';').map((part) => part.trim());
    assert.equal(name, 'permessage-deflate');
    return Object.fromEntries(
        parameters.map((parameter) => {
            const [key, value = true] = parameter.split('=');
            return [key, value];
        }),
    );
}

const NO_TAKEOVER = { server_no_context_takeover: true, client_no_context_takeover: true };

/* Each offer, and the parameters of the answer; null: declined. Both context takeovers are always refused. */
const OFFERS = {
    '7.1: no parameters': ['permessage-deflate', NO_TAKEOVER],
    '7.1.1.1: server_no_context_takeover': ['permessage-deflate; server_no_context_takeover', NO_TAKEOVER],
    '7.1.1.2: client_no_context_takeover': ['permessage-deflate; client_no_context_takeover', NO_TAKEOVER],
    '7.1.2.1: server_max_window_bits=15': [
        'permessage-deflate; server_max_window_bits=15',
        { ...NO_TAKEOVER, server_max_window_bits: '15' },
    ],
    '7.1.2.2: client_max_window_bits without a value': ['permessage-deflate; client_max_window_bits', NO_TAKEOVER],
    '7.1.2.2: client_max_window_bits=10': [
        'permessage-deflate; client_max_window_bits=10',
        { ...NO_TAKEOVER, client_max_window_bits: '10' },
    ],
    '7.1.2.2: client_max_window_bits=8': [
        'permessage-deflate; client_max_window_bits=8',
        { ...NO_TAKEOVER, client_max_window_bits: '8' },
    ],
    '5: all four': [
        'permessage-deflate; server_no_context_takeover; client_no_context_takeover; ' +
            'server_max_window_bits=15; client_max_window_bits=12',
        { ...NO_TAKEOVER, server_max_window_bits: '15', client_max_window_bits: '12' },
    ],
    '9.1 of RFC 6455: a quoted value': [
        'permessage-deflate; client_max_window_bits="11"',
        { ...NO_TAKEOVER, client_max_window_bits: '11' },
    ],
    '7.1.2.1: a smaller server window is declined': ['permessage-deflate; server_max_window_bits=10', null],
    '5: the first offer that can be accepted': [
        'permessage-deflate; server_max_window_bits=9, permessage-deflate; client_max_window_bits=9',
        { ...NO_TAKEOVER, client_max_window_bits: '9' },
    ],
    '5: after an extension that is unknown': ['foo, permessage-deflate', NO_TAKEOVER],
    '7: an unknown parameter': ['permessage-deflate; window=15', null],
    '7: an unknown parameter, then a good offer': ['permessage-deflate; window=15, permessage-deflate', NO_TAKEOVER],
    '7.1: a parameter twice': ['permessage-deflate; client_no_context_takeover; client_no_context_takeover', null],
    '7.1.1: a value where none may be': ['permessage-deflate; server_no_context_takeover=1', null],
    '7.1.2.1: server_max_window_bits without a value': ['permessage-deflate; server_max_window_bits', null],
    '7.1.2.1: server_max_window_bits=7': ['permessage-deflate; server_max_window_bits=7', null],
    '7.1.2.1: server_max_window_bits=16': ['permessage-deflate; server_max_window_bits=16', null],
    '7.1.2.1: a leading zero': ['permessage-deflate; client_max_window_bits=09', null],
    '7.1.2.2: client_max_window_bits=16': ['permessage-deflate; client_max_window_bits=16', null],
    '7.1.2.2: client_max_window_bits that is no number': ['permessage-deflate; client_max_window_bits=x', null],
};

for (const [what, [offer, agreed]] of Object.entries(OFFERS)) {
    connects(`${what}: ${agreed ? 'accepted' : 'declined'}`, async (wire) => {
        const answer = await wire.upgrade('/v1/echo', { 'Sec-WebSocket-Extensions': offer });
        assert.equal(answer.status, 101);
        assert.deepEqual(agreedOn(answer), agreed ?? undefined);
        await wire.sendText('plain');
        await comesBack(wire, TEXT, 'plain');
        if (agreed) await isDeflatedBothWays(wire);
    });
}

async function isDeflatedBothWays(wire) {
    const text = 'again and '.repeat(50);
    await wire.sendFrame({ rsv: RSV1, payload: deflated(text, { windowBits: 9 }) });
    const reply = await wire.readFrame();
    const payload = reply.rsv === RSV1 ? inflated(reply.payload) : reply.payload;
    assert.equal(payload.toString(), text);
}

/* A deflated message comes back, deflated or not. Returns the frame. */
async function comesBackInflated(wire, opcode, payload, what = '') {
    const got = await wire.readFrame();
    assert.equal(got.opcode, opcode, what);
    assert.ok(got.rsv === 0 || got.rsv === RSV1, '6: only RSV1 may be set');
    const shown = got.rsv === RSV1 ? inflated(got.payload) : got.payload;
    assert.ok(Buffer.from(payload).equals(shown), `the payload comes back ${what}`);
    return got;
}

deflates('7.2: messages of every size, each with a fresh window', async (wire) => {
    for (const size of [1, 2, 125, 126, 1000, 65_535, 65_536, 300_000, MESSAGE_BYTES_MAX]) {
        const text = 'the same and the same and '.repeat(Math.ceil(size / 26)).slice(0, size);
        await wire.sendFrame({ rsv: RSV1, payload: deflated(text) });
        const { rsv, payload } = await comesBackInflated(wire, TEXT, text, `${size} bytes`);
        if (size >= 1000) assert.ok(rsv === RSV1 && payload.length < size / 2, `${size} bytes come back deflated`);
    }
});

deflates('7.2.1: every level and strategy, stored and fixed blocks', async (wire) => {
    const text = 'shoal of fish '.repeat(100);
    for (let level = 0; level <= 9; level++)
        for (const strategy of [0, 1, 2, 3, 4]) {
            await wire.sendFrame({ rsv: RSV1, payload: deflated(text, { level, strategy }) });
            await comesBackInflated(wire, TEXT, text, `level ${level}, strategy ${strategy}`);
        }
});

deflates('7.2.1: every window that a client may use', async (wire) => {
    const text = randomBytes(3000).toString('hex').repeat(3);
    for (let windowBits = 9; windowBits <= 15; windowBits++) {
        await wire.sendFrame({ rsv: RSV1, payload: deflated(text, { windowBits }) });
        await comesBackInflated(wire, TEXT, text, `${windowBits} bits`);
    }
});

deflates('7.2.3.1: the message of the RFC', async (wire) => {
    await wire.sendFrame({ rsv: RSV1, payload: Buffer.from('f248cdc9c90700', 'hex') });
    await comesBackInflated(wire, TEXT, 'Hello');
});

deflates('7.2.3.1: the message of the RFC in two fragments', async (wire) => {
    await wire.sendFrame({ fin: false, rsv: RSV1, payload: Buffer.from('f248cd', 'hex') });
    await wire.sendFrame({ opcode: CONTINUATION, payload: Buffer.from('c9c90700', 'hex') });
    await comesBackInflated(wire, TEXT, 'Hello');
});

deflates('7.2.3.3: a block that is not compressed', async (wire) => {
    await wire.sendFrame({ rsv: RSV1, payload: Buffer.from('000500faff48656c6c6f00', 'hex') });
    await comesBackInflated(wire, TEXT, 'Hello');
});

deflates('7.2.3.4: a block with BFINAL set', async (wire) => {
    await wire.sendFrame({ rsv: RSV1, payload: Buffer.from('f348cdc9c9070000', 'hex') });
    await comesBackInflated(wire, TEXT, 'Hello');
});

deflates('7.2.3.5: two blocks in one message', async (wire) => {
    await wire.sendFrame({ rsv: RSV1, payload: Buffer.from('f248050000 00ffffcac9c90700'.replace(' ', ''), 'hex') });
    await comesBackInflated(wire, TEXT, 'Hello');
});

deflates('7.2.3.6: an empty message, as one byte', async (wire) => {
    await wire.sendFrame({ rsv: RSV1, payload: Buffer.from('00', 'hex') });
    await comesBackInflated(wire, TEXT, '');
    await wire.sendFrame({ opcode: BINARY, rsv: RSV1, payload: Buffer.from('00', 'hex') });
    await comesBackInflated(wire, BINARY, '');
});

deflates('7.2.2: no byte at all, to which 00 00 FF FF adds no block: 1007', async (wire) => {
    await wire.sendFrame({ rsv: RSV1, payload: '' });
    await fails(wire, 1007);
});

deflates('6.1: compressed and plain messages in any order', async (wire) => {
    const text = 'mixed '.repeat(100);
    for (let n = 0; n < 20; n++) {
        if (n % 3) await wire.sendFrame({ rsv: RSV1, payload: deflated(text + n) });
        else await wire.sendText(text + n);
        const { rsv } = await comesBackInflated(wire, TEXT, text + n);
        if (n % 3 === 0) assert.equal(rsv, 0, 'what came plain goes back plain');
    }
});

deflates('6.1: fragmented at every place, with control frames between', async (wire) => {
    const payload = deflated('fragments of a deflated message, fragments of a deflated message');
    for (let cut = 0; cut <= payload.length; cut++) {
        await wire.sendFrame({ fin: false, rsv: RSV1, payload: payload.subarray(0, cut) });
        await wire.sendFrame({ opcode: PING, payload: `${cut}` });
        await comesBack(wire, PONG, `${cut}`);
        await wire.sendFrame({ opcode: CONTINUATION, payload: payload.subarray(cut) });
        await comesBackInflated(wire, TEXT, 'fragments of a deflated message, fragments of a deflated message');
    }
});

deflates('6.1: cut by packets at every place', async (wire) => {
    const text = 'packets of a deflated message, packets of a deflated message';
    const whole = frame({ rsv: RSV1, payload: deflated(text) });
    for (let cut = 1; cut < whole.length; cut++) {
        await wire.send(whole.subarray(0, cut));
        await wire.send(whole.subarray(cut));
        await comesBackInflated(wire, TEXT, text, `cut at ${cut}`);
    }
});

deflates('6.1: RSV1 on a continuation: 1002', async (wire) => {
    const payload = deflated('x'.repeat(100));
    await wire.sendFrame({ fin: false, rsv: RSV1, payload: payload.subarray(0, 2) });
    await wire.sendFrame({ opcode: CONTINUATION, rsv: RSV1, payload: payload.subarray(2) });
    await fails(wire, 1002);
});

deflates('6.1: RSV1 on a control frame: 1002', async (wire) => {
    await wire.sendFrame({ opcode: PING, rsv: RSV1, payload: 'x' });
    await fails(wire, 1002);
});

for (const rsv of [1, 2, 3, 5, 6, 7]) {
    deflates(`6: RSV ${rsv.toString(2).padStart(3, '0')} means nothing even now: 1002`, async (wire) => {
        await wire.sendFrame({ rsv, payload: deflated('x') });
        await fails(wire, 1002);
    });
}

echoes('6: RSV1 without having agreed on it: 1002', async (wire) => {
    await wire.sendFrame({ rsv: RSV1, payload: deflated('x') });
    await fails(wire, 1002);
});

const CORRUPT = {
    'a block type that is reserved': '07ffff',
    'a stored block whose lengths disagree': '000500ffff48656c6c6f00',
    'a distance that goes back before the beginning': deflated('abcabcabcabc').toString('hex').replace(/^..../, 'ffff'),
    'noise': 'ffeeddccbbaa99887766554433221100',
};

for (const [what, payload] of Object.entries(CORRUPT)) {
    deflates(`7.2.2: ${what}: 1007`, async (wire) => {
        await wire.sendFrame({ opcode: BINARY, rsv: RSV1, payload: Buffer.from(payload, 'hex') });
        await fails(wire, 1007);
    });
}

deflates('7.1.1.2: a client that keeps its window although it was told not to: 1007', async (wire) => {
    const deflater = zlib.createDeflateRaw();
    const next = (text) =>
        new Promise((resolve) => {
            const parts = [];
            deflater.on('data', (part) => parts.push(part));
            deflater.write(text);
            deflater.flush(zlib.constants.Z_SYNC_FLUSH, () => {
                deflater.removeAllListeners('data');
                resolve(Buffer.concat(parts).subarray(0, -4));
            });
        });
    const text = randomBytes(200).toString('hex');
    await wire.sendFrame({ rsv: RSV1, payload: await next(text) });
    await comesBackInflated(wire, TEXT, text);
    await wire.sendFrame({ rsv: RSV1, payload: await next(text) });
    await fails(wire, 1007);
});

deflates('8.1 of RFC 6455: what inflates to text that is not UTF-8: 1007', async (wire) => {
    await wire.sendFrame({ rsv: RSV1, payload: deflated(Buffer.from('41c328', 'hex')) });
    await fails(wire, 1007);
});

deflates('the same as binary is right', async (wire) => {
    await wire.sendFrame({ opcode: BINARY, rsv: RSV1, payload: deflated(Buffer.from('41c328', 'hex')) });
    await comesBackInflated(wire, BINARY, Buffer.from('41c328', 'hex'));
});

for (const [name, make] of [['zeros', Buffer.alloc], ['chance, which deflates to more', randomBytes]]) {
    deflates(`10: exactly the largest message inflates: ${name}`, async (wire) => {
        const payload = make(MESSAGE_BYTES_MAX);
        await wire.sendFrame({ opcode: BINARY, rsv: RSV1, payload: deflated(payload, { memLevel: 1 }) });
        await comesBackInflated(wire, BINARY, payload);
    });
}

for (const size of [MESSAGE_BYTES_MAX + 1, 100 * MESSAGE_BYTES_MAX]) {
    deflates(`10: a bomb of ${size} bytes: 1009`, async (wire, broker) => {
        const before = broker.resident();
        await wire.sendFrame({ opcode: BINARY, rsv: RSV1, payload: deflated(Buffer.alloc(size)) });
        await fails(wire, 1009);
        assert.ok(broker.resident() - before < 16 * MESSAGE_BYTES_MAX, 'it did not go off');
    });
}

deflates('10: a compressed message that is too large before it is inflated: 1009', async (wire) => {
    await wire.send(frame({ rsv: RSV1, length: MESSAGE_BYTES_MAX / 8 * 9 + 65 }).subarray(0, 14));
    await fails(wire, 1009);
});
