/*
 * browser_test: a page in Chromium, from another origin, sees what a POST and a WebSocket publish, from outside and
 * from the page itself: in order, with offsets, in all three ways that a browser has. Cut off, it comes back and misses
 * nothing. What the page does is in page.html.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { withBroker } from '../integration/harness/broker.mjs';
import { publish } from '../integration/harness/http.mjs';
import { until } from '../integration/harness/wait.mjs';
import { JsonClient, RawClient } from '../integration/harness/ws.mjs';
import { Browser } from './browser.mjs';
import { CuttableWire, servePage } from './servers.mjs';

const TOPIC = 'e2e/page';
const OPTIONS = { shards: 5, set: { 'namespace.default.history_messages': 1000 } };

let browser;
let server;
before(async () => {
    browser = await Browser.start();
    server = await servePage();
});
after(async () => {
    server?.stop();
    await browser?.stop();
});

/* The page, with all three subscriptions standing. */
async function openPage(address) {
    const page = await browser.open(server.url({ broker: address, topic: TOPIC }));
    await until('all three subscriptions to stand', () =>
        page.run('["json", "events", "raw"].every((way) => document.body.dataset[way] === "open")'),
    );
    return page;
}

/* What each way has seen is 1…count, in order, with this data at each offset. */
async function sees(page, expected, ways = ['json', 'events', 'raw']) {
    for (const way of ways) {
        await until(`${expected.length} messages by ${way}`, () =>
            page.run(`seen.${way}.length >= ${expected.length}`),
        );
        const seen = await page.run(`seen.${way}`);
        assert.deepEqual(
            seen.map(({ data }) => data),
            expected,
            way,
        );
        if (way !== 'raw')
            assert.deepEqual(
                seen.map(({ offset }) => offset),
                expected.map((_, n) => n + 1),
                way,
            );
    }
}

test('what is published in every way is seen in every way, in one order', () =>
    withBroker(OPTIONS, async (broker) => {
        const page = await openPage(broker.data);
        const json = await JsonClient.open(broker);
        const raw = await RawClient.open(broker, TOPIC, { mode: 'pub' });
        const expected = [];
        for (let n = 0; n < 20; n++) {
            const large = { n, filler: 'to be deflated '.repeat(n) };
            assert.equal(
                (await publish(broker, TOPIC, { ...large, by: 'POST' })).offset,
                expected.push({ ...large, by: 'POST' }),
            );
            assert.equal((await json.publish(TOPIC, { n, by: 'JSON' })).offset, expected.push({ n, by: 'JSON' }));
            raw.send(`text ${n}`);
            expected.push(`text ${n}`);
            await until('the raw one to be there', () => page.run(`seen.json.length === ${expected.length}`));
            const { offset } = await page.run(`publishByPost({ n: ${n}, by: "fetch" })`);
            assert.equal(offset, expected.push({ n, by: 'fetch' }));
            await page.run(`publishBySocket({ n: ${n}, by: "the page" })`);
            expected.push({ n, by: 'the page' });
            await until("the page's own to be there", () => page.run(`seen.json.length === ${expected.length}`));
        }
        await sees(page, expected);
        assert.deepEqual(page.complaints, []);
    }));

test('cut off again and again, it comes back by itself and misses nothing', () =>
    withBroker(OPTIONS, async (broker) => {
        const wire = await CuttableWire.to(broker);
        try {
            const page = await openPage(wire.address);
            const expected = [];
            for (let round = 0; round < 3; round++) {
                for (let n = 0; n < 5; n++) {
                    expected.push({ round, n });
                    await publish(broker, TOPIC, { round, n });
                }
                await until('some to be seen', () => page.run(`seen.json.length > ${expected.length - 3}`));
                assert.ok(wire.cut() > 0);
            }
            expected.push('the end');
            await publish(broker, TOPIC, 'the end');
            await sees(page, expected, ['json', 'events']);
            assert.deepEqual(await page.run('seen.gaps'), []);
            assert.ok((await page.run('seen.closes.length')) >= 3);
        } finally {
            wire.stop();
        }
    }));

test('a broker that drains tells the page to come back', async () => {
    let page;
    await withBroker(OPTIONS, async (broker) => {
        page = await openPage(broker.data);
        await publish(broker, TOPIC, 'before');
        await sees(page, ['before']);
    });
    await until('the close to be seen', () => page.run('seen.closes.length > 0'));
    assert.equal(await page.run('seen.closes[0]'), 4000);
});
