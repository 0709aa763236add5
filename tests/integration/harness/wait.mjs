/*
 * wait: how tests wait for something, which is never "sleep and hope".
 *
 *   until(what, condition)     asks again and again until it is true
 *   within(what, promise)      the promise, but not forever
 *   Mailbox                    what arrives from outside, in order, to be taken one by one
 *
 * Each takes a phrase that says what was waited for: it is the text of the failure. PATIENCE_MS is meant to be reached
 * only by failures, and long enough for a slow machine that also runs the sanitizers. Only time counts in which this
 * process could look: a machine that sleeps for a minute, as virtual ones do, loses no more than one step of it.
 */
export const PATIENCE_MS = Number(process.env.SHOAL_PATIENCE_MS ?? 30_000);

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const STEP_MS_MAX = 1000;

class Patience {
    constructor(ms) {
        this.left_ms = ms;
        this.seen_ms = performance.now();
    }

    get isOver() {
        const now_ms = performance.now();
        this.left_ms -= Math.min(now_ms - this.seen_ms, STEP_MS_MAX);
        this.seen_ms = now_ms;
        return this.left_ms < 0;
    }
}

/* Lets everything that has arrived already be worked. */
export const breathe = () => new Promise((resolve) => setImmediate(resolve));

/* The first truthy value that `condition` gives (or promises). It may throw: then the last error says why. */
export async function until(what, condition, patience_ms = PATIENCE_MS) {
    const patience = new Patience(patience_ms);
    let error;
    for (;;) {
        try {
            const value = await condition();
            if (value) return value;
            error = undefined;
        } catch (thrown) {
            error = thrown;
        }
        if (patience.isOver) throw new Error(`waited ${patience_ms} ms for ${what}`, { cause: error });
        await pause(10);
    }
}

export async function within(what, promise, patience_ms = PATIENCE_MS) {
    const patience = new Patience(patience_ms);
    let timer;
    const timeout = new Promise((_, reject) => {
        const look = () => patience.isOver && reject(new Error(`waited ${patience_ms} ms for ${what}`));
        timer = setInterval(look, STEP_MS_MAX / 10);
    });
    try {
        return await Promise.race([promise, timeout]);
    } finally {
        clearInterval(timer);
    }
}

/* `items` are those that nobody has taken yet. After end() what is left can still be taken. */
export class Mailbox {
    constructor(what) {
        this.what = what;
        this.items = [];
        this.waiting = null;
        this.ended = null;
    }

    push(item) {
        this.items.push(item);
        this.wake();
    }

    /* Nothing more will come; `reason` says why. */
    end(reason) {
        this.ended ??= reason;
        this.wake();
    }

    wake() {
        this.waiting?.();
        this.waiting = null;
    }

    async take(patience_ms = PATIENCE_MS) {
        while (this.items.length === 0) {
            if (this.ended) throw new Error(`${this.what}: none left, it ended: ${this.ended}`);
            const more = new Promise((resolve) => {
                this.waiting = resolve;
            });
            await within(this.what, more, patience_ms);
        }
        return this.items.shift();
    }

    async takeMany(count, patience_ms = PATIENCE_MS) {
        const taken = [];
        while (taken.length < count) taken.push(await this.take(patience_ms));
        return taken;
    }

    /* Drops what does not fit on the way. */
    async takeUntil(condition) {
        for (;;) {
            const item = await this.take();
            if (condition(item)) return item;
        }
    }
}
