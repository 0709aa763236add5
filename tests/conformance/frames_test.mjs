/*
 * frames_test: RFC 6455 section 5, framing: lengths at their boundaries, masking, fragmentation, control frames, and
 * every bit and opcode that is reserved.
 */
import assert from 'node:assert/strict';

import { OPCODE, frame } from '../integration/harness/wire.mjs';
import { MESSAGE_BYTES_MAX, comesBack, echoes, fails, isWell, withEchoBroker } from './harness.mjs';

withEchoBroker();

const { CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG } = OPCODE;
const BOUNDARIES = [0, 1, 2, 3, 4, 5, 7, 8, 9, 124, 125, 126, 127, 128, 65534, 65535, 65536, 65537, MESSAGE_BYTES_MAX];
const bytes = (size) => Buffer.from(Array.from({ length: size }, (_, at) => (at * 7) & 0xff));

echoes('5.2: payloads of every length form, binary and text', async (wire) => {
    for (const size of BOUNDARIES) {
        await wire.sendFrame({ opcode: BINARY, payload: bytes(size) });
        const { header_size } = await comesBack(wire, BINARY, bytes(size), `${size} bytes`);
        assert.equal(header_size, size < 126 ? 2 : size < 65536 ? 4 : 10, '5.2: the shortest form');
        await wire.sendFrame({ opcode: TEXT, payload: 'a'.repeat(size) });
        await comesBack(wire, TEXT, 'a'.repeat(size), `${size} bytes`);
    }
});

echoes('5.2: many frames in one packet', async (wire) => {
    await wire.send(Buffer.concat(Array.from({ length: 500 }, (_, n) => frame({ payload: `message ${n}` }))));
    for (let n = 0; n < 500; n++) await comesBack(wire, TEXT, `message ${n}`);
});

echoes('5.2: frames byte by byte', async (wire) => {
    await wire.sendByteByByte(
        Buffer.concat([
            frame({ payload: 'slow' }),
            frame({ opcode: PING, payload: 'p' }),
            frame({ opcode: BINARY, payload: bytes(200) }),
        ]),
    );
    await comesBack(wire, TEXT, 'slow');
    await comesBack(wire, PONG, 'p');
    await comesBack(wire, BINARY, bytes(200));
});

echoes('5.2: cut at every place of the header', async (wire) => {
    for (const size of [10, 300, 70_000]) {
        const whole = frame({ opcode: BINARY, payload: bytes(size) });
        for (let cut = 1; cut <= 15; cut++) {
            await wire.send(whole.subarray(0, cut));
            await wire.send(whole.subarray(cut));
            await comesBack(wire, BINARY, bytes(size), `${size} bytes cut at ${cut}`);
        }
    }
});

for (const [form, length] of [
    [16, 0],
    [16, 125],
    [64, 0],
    [64, 125],
    [64, 126],
    [64, 65535],
]) {
    echoes(`5.2: a length of ${length} in ${form} bits is not the shortest: 1002`, async (wire) => {
        await wire.sendFrame({ opcode: BINARY, payload: bytes(length), form });
        await fails(wire, 1002);
    });
}

echoes('5.2: the highest bit of a 64-bit length must be 0: 1002', async (wire) => {
    await wire.send(frame({ opcode: BINARY, length: 1n << 63n }));
    await fails(wire, 1002);
});

for (const length of [BigInt(MESSAGE_BYTES_MAX) + 1n, 1n << 32n, (1n << 63n) - 1n]) {
    echoes(`10.4: a frame that announces ${length} bytes is refused before they come: 1009`, async (wire) => {
        await wire.send(frame({ opcode: BINARY, length }));
        await fails(wire, 1009);
    });
}

echoes('10.4: fragments that grow too large together: 1009', async (wire) => {
    await wire.sendFrame({ fin: false, opcode: BINARY, payload: bytes(MESSAGE_BYTES_MAX / 2) });
    await wire.sendFrame({ fin: false, opcode: CONTINUATION, payload: bytes(MESSAGE_BYTES_MAX / 2) });
    await wire.sendFrame({ fin: true, opcode: CONTINUATION, payload: bytes(1) });
    await fails(wire, 1009);
});

/* ---- masking ---- */

for (const [name, opcode] of Object.entries({ TEXT, BINARY, PING, PONG, CLOSE })) {
    echoes(`5.1: a ${name} frame that is not masked: 1002`, async (wire) => {
        await wire.sendFrame({ opcode, payload: opcode === CLOSE ? '' : 'bare', mask: false });
        await fails(wire, 1002);
    });
}

echoes('5.3: every masking key, also 0 and those that give zeros', async (wire) => {
    const payload = Buffer.from([0, 1, 2, 3, 0xff, 0x55, 0xaa, 0x80, 0x7f]);
    for (const key of ['00000000', 'ffffffff', '00010203', 'ff000000', '000000ff', '80808080'])
        for (let size = 0; size <= payload.length; size++) {
            await wire.sendFrame({ opcode: BINARY, payload: payload.subarray(0, size), key: Buffer.from(key, 'hex') });
            await comesBack(wire, BINARY, payload.subarray(0, size), `key ${key}`);
        }
});

echoes('5.3: the mask goes on across packets, wherever they are cut', async (wire) => {
    const payload = bytes(64);
    const whole = frame({ opcode: BINARY, payload, key: Buffer.from('12345678', 'hex') });
    for (let cut = 6; cut < whole.length; cut++) {
        await wire.send(whole.subarray(0, cut));
        await wire.send(whole.subarray(cut));
        await comesBack(wire, BINARY, payload, `cut at ${cut}`);
    }
});

/* ---- what is reserved ---- */

for (const rsv of [1, 2, 3, 4, 5, 6, 7]) {
    for (const [name, opcode] of Object.entries({ TEXT, PING, CLOSE })) {
        echoes(
            `5.2: RSV ${rsv.toString(2).padStart(3, '0')} on a ${name} frame, with no extension agreed: 1002`,
            async (wire) => {
                await wire.sendFrame({ opcode, rsv, payload: '' });
                await fails(wire, 1002);
            },
        );
    }
}

for (const opcode of [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]) {
    echoes(`5.2, 5.8: opcode ${opcode.toString(16)} is reserved: 1002`, async (wire) => {
        await wire.sendText('before');
        await wire.sendFrame({ opcode, payload: 'x' });
        await comesBack(wire, TEXT, 'before');
        await fails(wire, 1002);
    });
}

/* ---- fragmentation ---- */

/* Sends a message cut in these pieces. */
async function sendPieces(wire, opcode, pieces) {
    for (const [at, payload] of pieces.entries())
        await wire.sendFrame({ fin: at === pieces.length - 1, opcode: at === 0 ? opcode : CONTINUATION, payload });
}

echoes('5.4: fragments are put together, empty ones too, however many', async (wire) => {
    for (const pieces of [
        ['a', 'b'],
        ['', 'b'],
        ['a', ''],
        ['', ''],
        ['', '', 'c', ''],
        Array(300).fill('x'),
        Array(2000).fill(''),
    ]) {
        await sendPieces(wire, TEXT, pieces);
        await comesBack(wire, TEXT, pieces.join(''), `${pieces.length} pieces`);
        await sendPieces(wire, BINARY, pieces);
        await comesBack(wire, BINARY, pieces.join(''), `${pieces.length} pieces`);
    }
});

echoes('5.4: fragments in one packet, and a large message in small ones', async (wire) => {
    await wire.send(
        Buffer.concat([
            frame({ fin: false, payload: 'one ' }),
            frame({ fin: false, opcode: CONTINUATION, payload: 'packet' }),
            frame({ opcode: CONTINUATION, payload: '!' }),
        ]),
    );
    await comesBack(wire, TEXT, 'one packet!');
    const payload = bytes(100_000);
    const pieces = Array.from({ length: 1000 }, (_, n) => payload.subarray(n * 100, n * 100 + 100));
    await sendPieces(wire, BINARY, pieces);
    await comesBack(wire, BINARY, payload);
});

echoes('5.4: control frames in the middle of a message are answered at once', async (wire) => {
    await wire.sendFrame({ fin: false, payload: 'a' });
    await wire.sendFrame({ opcode: PING, payload: 'first' });
    await comesBack(wire, PONG, 'first');
    await wire.sendFrame({ fin: false, opcode: CONTINUATION, payload: 'b' });
    await wire.sendFrame({ opcode: PONG, payload: 'not asked for' });
    await wire.sendFrame({ opcode: PING, payload: '' });
    await comesBack(wire, PONG, '');
    await wire.sendFrame({ opcode: CONTINUATION, payload: 'c' });
    await comesBack(wire, TEXT, 'abc');
});

echoes('5.4: a close frame in the middle of a message', async (wire) => {
    await wire.sendFrame({ fin: false, payload: 'a' });
    await wire.sendFrame({ opcode: CLOSE, payload: Buffer.from([0x03, 0xe8]) });
    assert.equal((await wire.readClose({ answer: false })).code, 1000);
});

for (const fin of [true, false]) {
    echoes(`5.4: a continuation (FIN ${fin}) with nothing to continue: 1002`, async (wire) => {
        await wire.sendFrame({ fin, opcode: CONTINUATION, payload: 'x' });
        await fails(wire, 1002);
    });
    echoes(`5.4: a continuation (FIN ${fin}) behind a whole message: 1002`, async (wire) => {
        await wire.sendText('whole');
        await wire.sendFrame({ fin, opcode: CONTINUATION, payload: 'x' });
        await comesBack(wire, TEXT, 'whole');
        await fails(wire, 1002);
    });
    for (const [name, opcode] of Object.entries({ TEXT, BINARY })) {
        echoes(`5.4: a ${name} frame (FIN ${fin}) inside of a message: 1002`, async (wire) => {
            await wire.sendFrame({ fin: false, payload: 'a' });
            await wire.sendFrame({ fin, opcode, payload: 'b' });
            await fails(wire, 1002);
        });
    }
}

/* ---- control frames ---- */

echoes('5.5.2, 5.5.3: a pong has the payload of its ping, up to 125 bytes', async (wire) => {
    for (const size of [0, 1, 124, 125]) {
        await wire.sendFrame({ opcode: PING, payload: bytes(size) });
        await comesBack(wire, PONG, bytes(size), `${size} bytes`);
    }
});

echoes('5.5.2: many pings at once', async (wire) => {
    await wire.send(Buffer.concat(Array.from({ length: 100 }, (_, n) => frame({ opcode: PING, payload: `${n}` }))));
    for (let n = 0; n < 100; n++) await comesBack(wire, PONG, `${n}`);
});

echoes('5.5.3: a pong that was not asked for is not answered', async (wire) => {
    await wire.sendFrame({ opcode: PONG, payload: 'hello' });
    await isWell(wire);
});

for (const [name, opcode] of Object.entries({ PING, PONG, CLOSE })) {
    echoes(`5.5: a ${name} frame of 126 bytes: 1002`, async (wire) => {
        await wire.sendFrame({ opcode, payload: Buffer.concat([Buffer.from([3, 0xe8]), Buffer.alloc(124, 0x61)]) });
        await fails(wire, 1002);
    });
    echoes(`5.5: a ${name} frame that is fragmented: 1002`, async (wire) => {
        await wire.sendFrame({ opcode, fin: false, payload: '' });
        await fails(wire, 1002);
    });
}
