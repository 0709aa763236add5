/*
 * history: the checker of federation's promise, over the whole history of a run.
 *
 *   An acknowledged message of a logged topic is seen by every subscriber on every host exactly once and in the same
 *   order, or the subscriber was told of the gap. Never silence.
 *
 * A History belongs to one topic. Publishers note what was acknowledged; each subscriber, wherever it is connected at a
 * time, has a Track that is told what its client is told: where it begins, messages, gaps, how it resumed. A Track
 * throws at once at what can't be right for it alone:
 *
 *   - within an epoch offsets go up by exactly one; only a gap that was told may be jumped
 *   - a new epoch is entered by a gap that says so, or by a subscription without a position
 *   - no message comes twice within an epoch
 *
 * and the history at what can't be right for all together:
 *
 *   - one message at an (epoch, offset), whoever sees it and whoever was acknowledged
 *   - what one publisher published, one after the other, stands in that order
 *
 * check(), at the end, when each subscriber has seen a last message that was published after all faults:
 *
 *   - nothing acknowledged is missing: seen, or within a gap that was told, or of an epoch whose end was told
 *
 * A message may be seen in two epochs: its publisher was not answered, Redis lost it, and it was published again. The
 * gap with reason `epoch` stands between the two.
 */
import assert from 'node:assert/strict';

export class History {
    constructor(topic) {
        this.topic = topic;
        this.tracks = [];
        this.at = new Map(); // "epoch:offset" → name of the message
        this.acknowledged = []; // {name, publisher, sequence, epoch, offset}
        this.last = new Map(); // "publisher epoch" → {sequence, offset} that was acknowledged last
    }

    track(name) {
        const track = new Track(this, name);
        this.tracks.push(track);
        return track;
    }

    /* The publisher was told this position. It publishes its next message only then. */
    acknowledge({ publisher, sequence }, { epoch, offset }) {
        const name = `${publisher}/${sequence}`;
        this.stands(name, epoch, offset, 'its publisher');
        const before = this.last.get(`${publisher} ${epoch}`);
        if (before)
            assert.ok(
                offset > before.offset,
                `${this.topic}: ${name} is at ${offset}, but ${publisher}/${before.sequence} at ${before.offset}`,
            );
        this.last.set(`${publisher} ${epoch}`, { sequence, offset });
        this.acknowledged.push({ name, epoch, offset });
    }

    /* This message is at this position: for everybody, always. */
    stands(name, epoch, offset, who) {
        const place = `${epoch}:${offset}`;
        const before = this.at.get(place);
        assert.ok(
            before === undefined || before === name,
            `${this.topic}: at ${place} ${who} has ${name}, another ${before}`,
        );
        this.at.set(place, name);
    }

    /*
     * `last` is the position of a message that was published when all faults were over. Gives {acknowledged, seen,
     * gaps, epochs}: what was checked, so that a test can say that something was.
     */
    check(last) {
        for (const track of this.tracks) track.finish(last);
        for (const message of this.acknowledged) for (const track of this.tracks) track.mustKnow(message);
        return {
            acknowledged: this.acknowledged.length,
            seen: this.tracks.reduce((sum, track) => sum + track.count, 0),
            gaps: this.tracks.reduce((sum, track) => sum + track.gaps.length, 0),
            epochs: new Set(this.acknowledged.map(({ epoch }) => epoch)).size,
        };
    }
}

export class Track {
    constructor(history, name) {
        this.history = history;
        this.name = name;
        this.epoch = null;
        this.offset = 0; // of the last message seen or jumped
        this.stays = []; // {epoch, begin, end, left}: the stretch of each epoch that it has passed; left: told its end
        this.gaps = [];
        this.names = new Set(); // of the messages seen in the present epoch
        this.owed = null; // where a resumption without `recovered` must lead, by gaps
        this.count = 0;
    }

    get position() {
        return this.epoch === null ? undefined : { epoch: this.epoch, offset: this.offset };
    }

    /* The answer to its first subscription, which had no position. */
    begins({ epoch, offset }) {
        assert.equal(this.epoch, null, `${this.where()} begins twice`);
        this.enter(epoch, offset);
    }

    /* The answer to one that had. */
    resumed({ epoch, offset, recovered }) {
        const here = { epoch: this.epoch, offset: this.offset };
        if (recovered) assert.deepEqual({ epoch, offset }, here, `${this.where()} recovered, but not from there`);
        this.owed = recovered ? null : { epoch, offset };
    }

    saw(offset, { publisher, sequence }) {
        const name = `${publisher}/${sequence}`;
        const where = `${this.where()} sees ${name} at ${offset}`;
        assert.equal(this.owed, null, `${where}, before the gap that it was owed`);
        assert.ok(!this.names.has(name), `doubled: ${where}`);
        assert.equal(offset, this.offset + 1, `${offset <= this.offset ? 'goes back' : 'silence'}: ${where}`);
        this.history.stands(name, this.epoch, offset, this.name);
        this.names.add(name);
        this.advance(offset);
        this.count++;
    }

    toldGap({ from, to, reason, epoch = this.epoch }) {
        const where = `${this.where()} is told a gap ${from} to ${to} (${reason}) in ${epoch}`;
        this.gaps.push({ from, to, reason, epoch });
        if (reason === 'epoch') {
            assert.equal(from, 0, where);
            this.stay.left = true;
            this.enter(epoch, to);
        } else {
            assert.equal(epoch, this.epoch, `${where}: another epoch, and not by its reason`);
            assert.equal(from, this.offset + 1, where);
            assert.ok(to >= from, where);
            this.advance(to);
        }
        if (this.owed && this.owed.epoch === this.epoch && this.owed.offset === this.offset) this.owed = null;
    }

    enter(epoch, offset) {
        this.epoch = epoch;
        this.offset = offset;
        this.names = new Set();
        this.stay = { epoch, begin: offset, end: offset, left: false };
        this.stays.push(this.stay);
    }

    advance(offset) {
        this.offset = offset;
        this.stay.end = offset;
    }

    finish(last) {
        assert.notEqual(this.epoch, null, `${this.where()} has never begun`);
        assert.equal(this.owed, null, `${this.where()}: a gap that it was owed has never come`);
        assert.equal(this.epoch, last.epoch, `silence: ${this.where()} knows nothing of the epoch ${last.epoch}`);
        assert.ok(this.offset >= last.offset, `silence: ${this.where()} does not reach ${last.offset}`);
    }

    /* An epoch that it never was in lies before its beginning, or between two of which it was told. */
    mustKnow({ name, epoch, offset }) {
        for (const stay of this.stays.filter((one) => one.epoch === epoch))
            assert.ok(
                offset <= stay.end || stay.left,
                `silence: ${this.name} ends at ${epoch}:${stay.end}, ${name} was acknowledged at ${offset}`,
            );
    }

    where() {
        return `${this.history.topic}: ${this.name} (at ${this.epoch}:${this.offset})`;
    }
}
