/*
 * harness: what the conformance tests share: a broker with debug.echo for a whole file, and one connection to /v1/echo
 * for each case. Names of tests begin with the section of the RFC that they are about.
 *
 *   echoes(name, async (wire, broker) => …)    an open WebSocket; afterwards the broker must be as clean as before
 *   fails(wire, code)                          the server fails the connection: that close code, then the end
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Broker } from '../integration/harness/broker.mjs';
import { OPCODE, Wire } from '../integration/harness/wire.mjs';

export const MESSAGE_BYTES_MAX = 1 << 20;

let broker;

/* One broker for all tests of the file. It is stopped, and judged, behind them. */
export function withEchoBroker(set = {}) {
    before(async () => {
        broker = await Broker.start({
            shards: 2,
            set: { 'debug.echo': true, 'limits.message_bytes': MESSAGE_BYTES_MAX, ...set },
        });
    });
    after(() => broker?.stop());
}

/* A test with a connection that has asked for nothing yet. */
export function connects(name, body) {
    test(name, async () => {
        const wire = await Wire.connect(broker);
        try {
            await body(wire, broker);
        } finally {
            wire.cut();
        }
    });
}

export function echoes(name, body, headers = {}) {
    test(name, async () => {
        const wire = await Wire.open(broker, '/v1/echo', { headers });
        try {
            await body(wire, broker);
        } finally {
            wire.cut();
        }
    });
}

export async function fails(wire, code, what = '') {
    assert.equal((await wire.readClose()).code, code, what);
}

/* The next frame is a whole message of this kind and payload. */
export async function comesBack(wire, opcode, payload, what = '') {
    const frame = await wire.readFrame();
    assert.equal(frame.opcode, opcode, what);
    assert.equal(frame.fin, true, what);
    assert.equal(frame.masked, false, `a server does not mask (5.1) ${what}`);
    assert.ok(Buffer.from(payload).equals(frame.payload), `the payload comes back ${what}`);
    return frame;
}

/* The connection is well: it still answers. */
export async function isWell(wire) {
    await wire.sendText('well?');
    await comesBack(wire, OPCODE.TEXT, 'well?');
}
