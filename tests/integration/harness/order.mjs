/*
 * order: the checker of what subscribers see.
 *
 * A Ledger belongs to one topic. Publishers note what they send and what was acknowledged; each subscriber has a Reader
 * that is told what arrives. It throws at the first message that breaks the promise:
 *
 *   - offsets go up by exactly one, from where the reader began; only a gap that was told may be jumped
 *   - each publisher's messages come in the order in which it sent them, none twice, none missing
 *   - two readers never see different messages at one offset (the ledger remembers which was where)
 *   - an acknowledged message is at the offset that its publisher was told
 *   - finish(): nothing that was acknowledged is missing
 *
 * order_test.mjs shows that each of these is noticed.
 */
import assert from 'node:assert/strict';

export class Ledger {
    constructor(topic) {
        this.topic = topic;
        this.at = new Map(); // offset → "publisher/sequence"
        this.acknowledged = new Map(); // "publisher/sequence" → offset
        this.sent = new Map(); // publisher → last sequence
    }

    /* The body of a publisher's next message. */
    next(publisher, filler = '') {
        const sequence = (this.sent.get(publisher) ?? 0) + 1;
        this.sent.set(publisher, sequence);
        return { publisher, sequence, filler };
    }

    acknowledge(body, offset) {
        const name = nameOf(body);
        assert.ok(!this.acknowledged.has(name), `${this.topic}: ${name} was acknowledged twice`);
        this.acknowledged.set(name, offset);
        this.stands(name, offset);
    }

    /* This message is at this offset: for everybody, always. */
    stands(name, offset) {
        const before = this.at.get(offset);
        assert.ok(
            before === undefined || before === name,
            `${this.topic}: at offset ${offset} one sees ${before}, another ${name}`,
        );
        this.at.set(offset, name);
    }

    /* A reader that begins after `offset`. */
    reader(offset) {
        return new Reader(this, offset);
    }
}

export class Reader {
    constructor(ledger, offset) {
        this.ledger = ledger;
        this.begin = offset;
        this.offset = offset;
        this.sequences = new Map(); // publisher → the last sequence seen
        this.gaps = [];
        this.count = 0;
    }

    saw(offset, body) {
        const name = nameOf(body);
        const where = `${this.ledger.topic}: offset ${offset} (${name}) after offset ${this.offset}`;
        assert.ok(offset !== this.offset, `doubled: ${where}`);
        assert.equal(offset, this.offset + 1, `${offset < this.offset ? 'out of order' : 'missed some'}: ${where}`);
        const last = this.sequences.get(body.publisher);
        if (last !== undefined) assert.equal(body.sequence, last + 1, `not as published: ${where}, last was ${last}`);
        this.ledger.stands(name, offset);
        this.sequences.set(body.publisher, body.sequence);
        this.offset = offset;
        this.count++;
    }

    /* The broker has told that these (inclusive) will not come. */
    toldGap(from, to) {
        assert.equal(from, this.offset + 1, `${this.ledger.topic}: a gap from ${from} after offset ${this.offset}`);
        assert.ok(to >= from, `${this.ledger.topic}: a gap from ${from} to ${to}`);
        this.gaps.push({ from, to });
        this.offset = to;
        this.sequences.clear();
    }

    /* A raw subscriber is not told offsets: what comes must be what follows. */
    sawNext(body) {
        this.saw(this.offset + 1, body);
    }

    /* Everything acknowledged after the beginning was seen, or told as a gap. */
    finish() {
        const tail = Math.max(this.begin, ...this.ledger.acknowledged.values());
        assert.ok(this.offset >= tail, `${this.ledger.topic}: ends at offset ${this.offset}, ${tail} was acknowledged`);
    }
}

function nameOf(body) {
    return `${body.publisher}/${body.sequence}`;
}
