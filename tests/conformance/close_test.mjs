/*
 * close_test: RFC 6455 section 7 and 5.5.1, the closing handshake: which codes may be sent, what is answered, and that
 * nothing is worked behind it.
 */
import assert from 'node:assert/strict';

import { OPCODE, closeFrame, frame } from '../integration/harness/wire.mjs';
import { comesBack, echoes, fails, withEchoBroker } from './harness.mjs';

withEchoBroker();

const { TEXT, CLOSE, PING } = OPCODE;

/* 7.4.1, 7.4.2 and the registry of IANA. */
const VALID_CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999];
const INVALID_CODES = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535];

for (const code of VALID_CODES) {
    echoes(`5.5.1, 7.4: ${code} is answered by ${code}, then the server ends the connection`, async (wire) => {
        await wire.send(closeFrame(code, 'farewell'));
        const answer = await wire.readClose({ answer: false });
        assert.equal(answer.code, code);
        assert.equal(answer.reason, '', 'no word of ours about the code of another');
    });
}

for (const code of INVALID_CODES) {
    echoes(`7.4.1, 7.4.2: ${code} may not be sent: 1002`, async (wire) => {
        await wire.send(closeFrame(code));
        await fails(wire, 1002);
    });
}

echoes('5.5.1: an empty close frame is answered by one', async (wire) => {
    await wire.sendFrame({ opcode: CLOSE, payload: '' });
    const { code } = await wire.readClose({ answer: false });
    assert.ok(code === null || code === 1000, `${code}`);
});

echoes('5.5.1: half a code: 1002', async (wire) => {
    await wire.sendFrame({ opcode: CLOSE, payload: Buffer.from([3]) });
    await fails(wire, 1002);
});

echoes('5.5: a reason of 123 bytes fits', async (wire) => {
    await wire.send(closeFrame(1000, 'r'.repeat(123)));
    assert.equal((await wire.readClose({ answer: false })).code, 1000);
});

echoes('5.5.1: messages before the close frame are answered, what comes behind is not', async (wire) => {
    await wire.send(
        Buffer.concat([
            frame({ payload: 'before' }),
            closeFrame(1000),
            frame({ payload: 'behind' }),
            frame({ opcode: PING, payload: 'behind' }),
            closeFrame(1001),
            Buffer.from([0xff, 0xff]),
        ]),
    );
    await comesBack(wire, TEXT, 'before');
    assert.equal((await wire.readClose({ answer: false })).code, 1000);
    assert.equal(wire.bytes.length, 0);
});

echoes('5.5.1: a large echo is sent whole before the close frame', async (wire) => {
    const large = 'x'.repeat(1 << 20);
    await wire.send(Buffer.concat([frame({ payload: large }), closeFrame(1000)]));
    await comesBack(wire, TEXT, large);
    assert.equal((await wire.readClose({ answer: false })).code, 1000);
});

echoes('7.1.1: it is the server who ends the TCP connection', async (wire) => {
    await wire.send(closeFrame(1000));
    await wire.readClose({ answer: false });
    assert.ok(['end', 'close'].includes(await wire.ended()));
});

echoes('7.1.4: a connection that ends without a close frame is let go', async (wire, broker) => {
    wire.finish();
    await wire.ended();
    await broker.untilNothingIsLeft();
});

echoes('7.1.7: after an error, nothing that follows is worked, and its reason is a text', async (wire) => {
    await wire.send(Buffer.concat([frame({ rsv: 1, payload: 'bad' }), frame({ payload: 'good' })]));
    const { code, reason } = await wire.readClose();
    assert.equal(code, 1002);
    assert.ok(Buffer.byteLength(reason) <= 123);
    assert.equal(wire.bytes.length, 0);
});
