/*
 * checker_test: canaries of the history's checker. Each history here breaks the promise in one way, and must be
 * noticed; those that keep it must pass.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { History } from './harness/history.mjs';

const A = 'a'.repeat(16);
const B = 'b'.repeat(16);
const body = (sequence) => ({ publisher: 'p', sequence });

/* A history in which two subscribers begin at A:0 and p publishes 1 to 4 there. */
function begun() {
    const history = new History('log/a');
    const tracks = ['s0', 's1'].map((name) => history.track(name));
    for (const track of tracks) track.begins({ epoch: A, offset: 0 });
    for (let n = 1; n <= 4; n++) history.acknowledge(body(n), { epoch: A, offset: n });
    return { history, tracks, check: () => history.check({ epoch: A, offset: 4 }) };
}

const sees = (track, ...offsets) => offsets.forEach((offset) => track.saw(offset, body(offset)));

test('all is seen by all', () => {
    const { tracks, check } = begun();
    for (const track of tracks) sees(track, 1, 2, 3, 4);
    assert.deepEqual(check(), { acknowledged: 4, seen: 8, gaps: 0, epochs: 1 });
});

test('what was told as a gap need not be seen', () => {
    const { tracks, check } = begun();
    sees(tracks[0], 1, 2, 3, 4);
    sees(tracks[1], 1);
    tracks[1].resumed({ epoch: A, offset: 3, recovered: false });
    tracks[1].toldGap({ from: 2, to: 3, reason: 'expired', epoch: A });
    sees(tracks[1], 4);
    check();
});

test('an epoch may end early, if that is told; a message may come again in the next', () => {
    const { history, tracks } = begun();
    for (const track of tracks) {
        sees(track, 1, 2);
        track.toldGap({ from: 0, to: 2, reason: 'epoch', epoch: B });
        track.saw(3, body(2));
    }
    history.check({ epoch: B, offset: 3 });
});

test('who begins later need not know what was before', () => {
    const { history, tracks, check } = begun();
    for (const track of tracks) sees(track, 1, 2, 3, 4);
    history.track('late').begins({ epoch: A, offset: 4 });
    check();
});

const CANARIES = {
    'one is lost': [/silence/, ({ tracks }) => sees(tracks[0], 1, 3)],
    'one comes twice': [/doubled/, ({ tracks }) => sees(tracks[0], 1, 1)],
    'one comes twice, at another offset': [
        /doubled/,
        ({ tracks }) => {
            sees(tracks[0], 1);
            tracks[0].saw(2, body(1));
        },
    ],
    'it goes back': [/goes back/, ({ tracks }) => sees(tracks[0], 1, 2, 1.5)],
    'two see another order': [
        /another/,
        ({ tracks }) => {
            sees(tracks[0], 1);
            tracks[1].saw(1, body(7));
        },
    ],
    'the publisher was told another offset': [
        /another/,
        ({ history }) => history.acknowledge(body(9), { epoch: A, offset: 2 }),
    ],
    'a publisher goes back': [
        /but p\/4/,
        ({ history }) => history.acknowledge(body(5), { epoch: A, offset: 3.5 }),
    ],
    'the end is missing, silently': [
        /silence/,
        ({ tracks, check }) => {
            sees(tracks[0], 1, 2, 3, 4);
            sees(tracks[1], 1, 2, 3);
            check();
        },
    ],
    'an epoch that nobody told of': [
        /another epoch/,
        ({ tracks }) => tracks[0].toldGap({ from: 1, to: 2, reason: 'expired', epoch: B }),
    ],
    'a subscriber that stays in the old epoch': [
        /knows nothing/,
        ({ history, tracks }) => {
            for (const track of tracks) sees(track, 1, 2, 3, 4);
            tracks[0].toldGap({ from: 0, to: 4, reason: 'epoch', epoch: B });
            history.acknowledge(body(5), { epoch: B, offset: 5 });
            sees(tracks[0], 5);
            history.check({ epoch: B, offset: 5 });
        },
    ],
    'recovered, but from elsewhere': [
        /not from there/,
        ({ tracks }) => {
            sees(tracks[0], 1);
            tracks[0].resumed({ epoch: A, offset: 3, recovered: true });
        },
    ],
    'a gap that it was owed does not come': [
        /before the gap/,
        ({ tracks }) => {
            sees(tracks[0], 1);
            tracks[0].resumed({ epoch: A, offset: 3, recovered: false });
            sees(tracks[0], 2);
        },
    ],
    'a gap that leaves a hole': [
        /is told a gap/,
        ({ tracks }) => {
            sees(tracks[0], 1);
            tracks[0].toldGap({ from: 3, to: 4, reason: 'expired', epoch: A });
        },
    ],
    'who never begins': [
        /never begun/,
        ({ history, tracks, check }) => {
            for (const track of tracks) sees(track, 1, 2, 3, 4);
            history.track('mute');
            check();
        },
    ],
};

for (const [name, [complaint, breakIt]] of Object.entries(CANARIES))
    test(`canary: ${name}`, () => assert.throws(() => breakIt(begun()), complaint));
