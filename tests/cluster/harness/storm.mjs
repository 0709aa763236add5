/*
 * storm: one fault after another, drawn by a seed, while all publish and subscribe; the whole history is checked in the
 * end.
 */
import assert from 'node:assert/strict';

import { randomFrom, SEED } from '../../integration/harness/random.mjs';
import { pause } from '../../integration/harness/wait.mjs';
import { Traffic } from './traffic.mjs';

export const TOPICS = ['log/a', 'log/b', 'log/c', 'log/d'];
const PACE_MS = 10;

/**
 * `faults`: name → function, of what `draw(random)` gives it, the cluster, the traffic and chance. `draw` also gives
 * `words` for the account of the steps. `well`: waits until what was broken is whole, before the hosts are waited for.
 */
export async function storm(cluster, { steps, faults, draw, well = async () => {} }) {
    const random = randomFrom(SEED);
    const traffic = await Traffic.start(cluster, { topics: TOPICS, pace_ms: PACE_MS });
    const names = Object.keys(faults);
    const taken = [];
    try {
        for (let step = 0; step < steps; step++) {
            const name = names[random(names.length)];
            const { words, ...at } = draw(random);
            taken.push(`${name} (${words})`);
            await faults[name]({ ...at, cluster, traffic, random });
            await pause(random(300));
        }
        await well();
        await cluster.untilReady();
        const checked = await traffic.settled();
        assert.ok(checked.acknowledged > TOPICS.length * 3, JSON.stringify(checked));
    } catch (error) {
        error.message += `\n--- seed ${SEED}, steps ---\n${taken.join('\n')}`;
        throw error;
    } finally {
        traffic.stop();
    }
}
