/*
 * order_test: the checker of order and loss notices what it is for. No broker here: this is the canary of all tests
 * that use it. If a broken sequence passes here, the other tests prove nothing.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Ledger } from './harness/order.mjs';

/* A topic with five messages by two publishers, all acknowledged. */
function fiveMessages() {
    const ledger = new Ledger('canary');
    const bodies = ['ada', 'ben', 'ada', 'ben', 'ada'].map((publisher) => ledger.next(publisher));
    bodies.forEach((body, index) => ledger.acknowledge(body, index + 1));
    return { ledger, bodies };
}

/* What a reader says that sees these [offset, index of the body] in turn, and then the end. */
function reading(seen, tamper = () => {}) {
    const { ledger, bodies } = fiveMessages();
    tamper(ledger, bodies);
    const reader = ledger.reader(0);
    for (const [offset, index] of seen) reader.saw(offset, bodies[index]);
    reader.finish();
    return reader;
}

const WHOLE = [
    [1, 0],
    [2, 1],
    [3, 2],
    [4, 3],
    [5, 4],
];

test('what is right passes', () => {
    assert.equal(reading(WHOLE).count, 5);
});

test('canary: a message that is missing', () => {
    assert.throws(() => reading([...WHOLE.slice(0, 2), ...WHOLE.slice(3)]), /missed some/);
});

test('canary: a message that comes twice', () => {
    assert.throws(() => reading([...WHOLE.slice(0, 3), WHOLE[2], ...WHOLE.slice(3)]), /doubled/);
});

test('canary: two messages that changed places', () => {
    assert.throws(() => reading([WHOLE[0], WHOLE[2], WHOLE[1]]), /missed some/);
    assert.throws(() => reading([WHOLE[0], WHOLE[1], WHOLE[0]]), /out of order/);
});

test('canary: offsets that are right, on messages that are not', () => {
    assert.throws(
        () =>
            reading([
                [1, 0],
                [2, 2],
            ]),
        /one sees/,
    );
});

test('canary: a tail that is missing', () => {
    assert.throws(() => reading(WHOLE.slice(0, 4)), /5 was acknowledged/);
});

test('canary: an acknowledgement that tells another offset than the message has', () => {
    const ledger = new Ledger('canary');
    const [first, second] = [ledger.next('ada'), ledger.next('ada')];
    ledger.acknowledge(first, 1);
    assert.throws(() => ledger.reader(0).saw(1, second), /one sees/);
    assert.throws(() => ledger.acknowledge(second, 1), /one sees/);
    assert.throws(() => ledger.acknowledge(first, 2), /twice/);
});

test('canary: two readers that see different orders', () => {
    const ledger = new Ledger('canary');
    const [ada, ben] = [ledger.next('ada'), ledger.next('ben')];
    ledger.reader(0).saw(1, ada);
    assert.throws(() => ledger.reader(0).saw(1, ben), /one sees/);
});

test('canary: a publisher whose messages are out of its own order', () => {
    const ledger = new Ledger('canary');
    const [first, second] = [ledger.next('ada'), ledger.next('ada')];
    const reader = ledger.reader(0);
    reader.saw(1, second);
    assert.throws(() => reader.saw(2, first), /not as published/);
});

test('a gap that was told is passed over, one that fits nowhere is not', () => {
    const { ledger, bodies } = fiveMessages();
    const reader = ledger.reader(0);
    reader.saw(1, bodies[0]);
    reader.toldGap(2, 4);
    reader.saw(5, bodies[4]);
    reader.finish();
    assert.throws(() => reader.toldGap(7, 8), /a gap from 7/);
    assert.throws(() => reader.toldGap(6, 5), /a gap from 6 to 5/);
});
