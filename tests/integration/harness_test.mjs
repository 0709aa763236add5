/*
 * harness_test: the harness does not let a broker go that is not clean. A fake one is wrong in every way that the
 * harness looks for; each must be noticed, or a green test means nothing.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { Broker, LEFTOVERS_AT_THE_END, withBroker } from './harness/broker.mjs';
import { EventParser } from './harness/http.mjs';
import { frame, masked } from './harness/wire.mjs';

const program = fileURLToPath(new URL('harness/fake_shoald.mjs', import.meta.url));
const fake = (fault) => withBroker({ program, backend: 'epoll', env: { FAKE: fault } }, async () => {});

test('a broker that is clean passes', () => fake('nothing'));

for (const name of LEFTOVERS_AT_THE_END) {
    test(`canary: ${name} left over`, () => assert.rejects(fake(name), new RegExp(`${name} left over`)));
}

test('canary: a sanitizer has spoken', () => assert.rejects(fake('sanitizer'), /cried alarm/));
test('canary: an assertion has failed', () => assert.rejects(fake('assertion'), /cried alarm/));
test('canary: a status other than 0', () => assert.rejects(fake('status'), /ends well/));
test('canary: killed by a signal', () => assert.rejects(fake('killed'), /ends well/));
test('canary: no last words', () => assert.rejects(fake('mute'), /logs "stopped"/));
test('canary: it never gets ready', () => assert.rejects(fake('early'), /before it was ready/));

test('a failure tells what the broker said', async () => {
    const failing = withBroker({ program, backend: 'epoll', env: {} }, async () => {
        throw new Error('the test failed');
    });
    await assert.rejects(failing, /the test failed[^]*"event":"ready"/);
});

test('what a test leaves running is ended', async () => {
    const broker = await Broker.start({ program, backend: 'epoll' });
    broker.abandon();
    assert.equal((await broker.exited).signal, 'SIGKILL');
});

test('frames are what RFC 6455 5.7 shows', () => {
    const shown = (fields) => frame(fields).toString('hex');
    const key = Buffer.from('37fa213d', 'hex');
    assert.equal(shown({ payload: 'Hello', mask: false }), '810548656c6c6f');
    assert.equal(shown({ payload: 'Hello', key }), '818537fa213d7f9f4d5158');
    assert.equal(shown({ fin: false, payload: 'Hel', mask: false }), '010348656c');
    assert.equal(shown({ opcode: 0, payload: 'lo', mask: false }), '80026c6f');
    assert.equal(shown({ opcode: 9, payload: 'Hello', mask: false }), '890548656c6c6f');
    assert.equal(shown({ opcode: 2, payload: Buffer.alloc(256), mask: false }).slice(0, 8), '827e0100');
    assert.equal(shown({ opcode: 2, payload: Buffer.alloc(65536), mask: false }).slice(0, 20), '827f0000000000010000');
    assert.equal(masked(masked(Buffer.from('there and back'), key), key).toString(), 'there and back');
});

test('event streams are read as the HTML standard says', () => {
    const events = [];
    const parser = new EventParser((event) => events.push(event));
    for (const letter of 'id: a:1\ndata: one\ndata:  two\n\n:\n\nevent: gap\ndata\n\nevent: empty\n\n')
        parser.feed(letter);
    assert.deepEqual(events, [
        { id: 'a:1', event: 'message', data: 'one\n two' },
        { comment: '' },
        { event: 'gap', data: '' },
    ]);
});
