/*
 * utf8_test: RFC 6455 8.1: text that is not UTF-8 fails the connection with 1007, and as early as it can be known: each
 * position is tried with the rest of the message never sent.
 */
import { OPCODE, closeFrame } from '../integration/harness/wire.mjs';
import { comesBack, echoes, fails, withEchoBroker } from './harness.mjs';

withEchoBroker();

const { CONTINUATION, TEXT, BINARY } = OPCODE;
const hex = (text) => Buffer.from(text.replaceAll(' ', ''), 'hex');

const VALID = {
    'ASCII, from NUL to DEL': '00 01 41 7f',
    'the first and last of two bytes': 'c280 dfbf',
    'the first and last of three': 'e0a080 efbfbf',
    'those around the surrogates': 'ed9fbf ee8080',
    'the first and last of four': 'f0908080 f48fbfbf',
    'a byte order mark': 'efbbbf 41',
    'characters that are none (U+FFFE, U+1FFFF)': 'efbfbe f09fbfbf',
    'a Greek word': 'cebae1bdb9cf83cebcceb5',
};

/* Valid up to the byte at `at`, which can't be right whatever follows. */
const INVALID = {
    'a continuation byte alone': ['41 80', 1],
    'FE': ['fe', 0],
    'FF': ['41 ff', 1],
    'C0: an overlong form': ['c0 80', 0],
    'C1: an overlong form': ['c1 bf', 0],
    'an overlong form in three': ['e0 80 80', 1],
    'the last overlong form in three': ['e0 9f bf', 1],
    'an overlong form in four': ['f0 80 80 80', 1],
    'the last overlong form in four': ['f0 8f bf bf', 1],
    'the first surrogate': ['ed a0 80', 1],
    'the last surrogate': ['ed bf bf', 1],
    'above U+10FFFF': ['f4 90 80 80', 1],
    'F5': ['f5 80 80 80', 0],
    'five bytes': ['f8 88 80 80 80', 0],
    'six bytes': ['fc 84 80 80 80 80', 0],
    'two bytes, cut by ASCII': ['c3 41', 1],
    'three bytes, cut by ASCII': ['e2 82 41', 2],
    'four bytes, cut by ASCII': ['f0 9f 98 41', 3],
    'a beginning in a beginning': ['e2 e2 82 ac', 1],
    'a Greek word, then a surrogate': ['cebae1bdb9cf83cebcceb5 eda080 656469746564', 12],
};

echoes('5.6, 8.1: what is valid comes back', async (wire) => {
    for (const [what, text] of Object.entries(VALID)) {
        await wire.sendText(hex(text));
        await comesBack(wire, TEXT, hex(text), what);
    }
});

echoes('5.4, 8.1: characters may be cut by frames and packets', async (wire) => {
    for (const [what, text] of Object.entries(VALID)) {
        for (let cut = 0; cut <= hex(text).length; cut++) {
            await wire.sendFrame({ fin: false, payload: hex(text).subarray(0, cut) });
            await wire.sendFrame({ opcode: CONTINUATION, payload: hex(text).subarray(cut) });
            await comesBack(wire, TEXT, hex(text), `${what}, cut at ${cut}`);
        }
    }
});

echoes('5.6: binary may be anything', async (wire) => {
    for (const [text] of Object.values(INVALID)) {
        await wire.sendFrame({ opcode: BINARY, payload: hex(text) });
        await comesBack(wire, BINARY, hex(text));
    }
});

for (const [what, [text, at]] of Object.entries(INVALID)) {
    echoes(`8.1: ${what}: 1007`, async (wire) => {
        await wire.sendText(hex(text));
        await fails(wire, 1007);
    });
    echoes(`8.1: ${what}, and the rest of the frame never comes: 1007 at once`, async (wire) => {
        const key = Buffer.from('a1b2c3d4', 'hex');
        const announced = Buffer.concat([Buffer.from([0x81, 0x80 | 100]), key]);
        const payload = hex(text)
            .subarray(0, at + 1)
            .map((byte, index) => byte ^ key[index & 3]);
        await wire.send(Buffer.concat([announced, payload]));
        await fails(wire, 1007);
    });
    echoes(`8.1: ${what}, in a fragment, byte by byte: 1007 at once`, async (wire) => {
        await wire.sendFrame({ fin: false, payload: '' });
        for (const byte of hex(text).subarray(0, at + 1))
            await wire.sendFrame({ fin: false, opcode: CONTINUATION, payload: Buffer.from([byte]) });
        await fails(wire, 1007);
    });
}

for (const text of ['c3', 'e282', 'f09f98', '41 f0']) {
    echoes(`8.1: a message that ends inside of a character (${text}): 1007`, async (wire) => {
        await wire.sendText(hex(text));
        await fails(wire, 1007);
    });
    echoes(`8.1: the same by an empty last fragment (${text}): 1007`, async (wire) => {
        await wire.sendFrame({ fin: false, payload: hex(text) });
        await wire.sendFrame({ opcode: CONTINUATION, payload: '' });
        await fails(wire, 1007);
    });
}

for (const [what, [text]] of Object.entries(INVALID)) {
    echoes(`5.5.1, 8.1: a close frame whose reason has ${what}: 1007`, async (wire) => {
        await wire.send(closeFrame(1000, hex(text)));
        await fails(wire, 1007);
    });
}
