/*
 * random: numbers from a seed, so that what failed can be run again: SHOAL_SEED=… in the environment.
 */
export const SEED = Number(process.env.SHOAL_SEED ?? Math.floor(Math.random() * 2 ** 31));

/* A function that gives numbers from 0 up to, but not including, its argument. A linear congruence (Knuth's MMIX). */
export function randomFrom(seed) {
    let state = BigInt(seed);
    return (below) => {
        state = BigInt.asUintN(64, state * 6364136223846793005n + 1442695040888963407n);
        return Number(((state >> 33n) * BigInt(below)) >> 31n);
    };
}
