/*
 * page_test: the page at the admin port's root, in Chromium, as a person uses it: it follows a filter, shows what
 * others publish and what it publishes itself, with topic, offset and delay; its numbers agree with the admin port's;
 * cut off, it comes back and misses nothing.
 *
 * It is looked at on a desk and on a phone, light and dark. The pictures are kept in SHOAL_SCREENSHOTS (default: a
 * folder page-screenshots beside the tests' own results); what a program can judge is judged: nothing is wider than the
 * screen, nothing is thrown, and text stands out from its ground (WCAG's contrast of 4.5).
 */
import assert from 'node:assert/strict';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { withBroker } from '../integration/harness/broker.mjs';
import { publish } from '../integration/harness/http.mjs';
import { until } from '../integration/harness/wait.mjs';
import { Browser } from './browser.mjs';

const FOLDER = process.env.SHOAL_SCREENSHOTS ?? 'page-screenshots';
const SCREENS = [
    { name: 'desk', width: 1280, height: 900, mobile: false },
    { name: 'phone', width: 390, height: 844, mobile: true },
];
const OPTIONS = { shards: 2, set: { 'namespace.default.history_messages': 1000 } };

let browser;
before(async () => {
    browser = await Browser.start();
});
after(async () => {
    await browser?.stop();
});

/* The page, connected and following demo/#, as it does by itself. */
async function openPage(broker) {
    const page = await browser.open(`http://${broker.admin}/`);
    await until('the page to follow demo/#', async () => {
        const { filters } = await (await fetch(`http://${broker.admin}/v1/filters`)).json();
        return filters.some(({ name, subscribers }) => name === 'demo/#' && subscribers === 1);
    });
    return page;
}

/* What the page shows, oldest first. */
const shown = (page) =>
    page.run(`[...document.querySelectorAll('#messages li[data-place]')].reverse().map((row) =>
        ({ topic: row.querySelector('.topic').textContent, offset: Number(row.querySelector('.offset').textContent),
           delay: row.querySelector('.delay').textContent, payload: row.querySelector('.payload').textContent }))`);

async function untilShown(page, count) {
    return until(`the page to show ${count} messages`, async () => {
        const rows = await shown(page);
        return rows.length >= count && rows;
    });
}

async function submit(page, form, fields) {
    for (const [id, value] of Object.entries(fields)) {
        await page.run(`document.getElementById(${JSON.stringify(id)}).value = ${JSON.stringify(value)}`);
    }
    await page.run(`document.getElementById(${JSON.stringify(form)}).requestSubmit()`);
}

test('what others publish and what it publishes itself is shown, in order, with offset and delay', () =>
    withBroker(OPTIONS, async (broker) => {
        const page = await openPage(broker);
        await publish(broker, 'demo/hello', 'from outside');
        await untilShown(page, 1);
        await submit(page, 'publish', { topic: 'demo/hello', payload: 'from <b>the page</b>', kind: 'text' });
        await untilShown(page, 2);
        await submit(page, 'publish', { topic: 'demo/hello', payload: '{"n":[1,2]}', kind: 'JSON' });
        const rows = await untilShown(page, 3);
        assert.deepEqual(
            rows.map(({ topic, offset, payload }) => [topic, offset, payload]),
            [
                ['demo/hello', 1, 'from outside'],
                ['demo/hello', 2, 'from <b>the page</b>'],
                ['demo/hello', 3, '{"n":[1,2]}'],
            ],
        );
        await until('its own messages to have a delay', async () =>
            (await shown(page)).slice(1).every(({ delay }) => /^[\d.]+ (µs|ms|s)$/.test(delay)),
        );
        await submit(page, 'publish', { topic: 'demo/hello', payload: '{broken', kind: 'JSON' });
        assert.match(await page.run('document.getElementById("problem").textContent'), /not valid JSON/);
        await submit(page, 'publish', { topic: 'demo/#', payload: 'x', kind: 'text' });
        await until('the refusal to be shown', () =>
            page.run('/filter/.test(document.getElementById("problem").textContent)'),
        );
        assert.deepEqual(page.complaints, []);
    }));

test('its numbers are the broker’s', () =>
    withBroker(OPTIONS, async (broker) => {
        const page = await openPage(broker);
        await submit(page, 'follow', { filter: 'demo/hello' });
        await until('both subscriptions to be counted', () =>
            page.run('document.getElementById("subscriptions").textContent.startsWith("2 subscriptions")'),
        );
        assert.equal(await page.run('document.getElementById("connections").textContent'), '1');
        assert.equal(await page.run('document.querySelectorAll("#shards tr").length'), 2);
        let n = 0;
        await until('messages to be seen going in and out, with a delay', async () => {
            await publish(broker, 'demo/hello', `number ${n++}`);
            return page.run(`['in', 'out'].every((id) => parseFloat(document.getElementById(id).textContent) > 0) &&
                /s$/.test(document.getElementById('p99').textContent)`);
        });
        assert.equal(await page.run('document.getElementById("status").textContent'), 'ready');
        assert.deepEqual(page.complaints, []);
    }));

test('cut off, it comes back and misses nothing', () =>
    withBroker(OPTIONS, async (broker) => {
        const page = await openPage(broker);
        await publish(broker, 'demo/a', '1');
        await untilShown(page, 1);
        await until('the page to know a time to resume from', () => page.run('waiting.size === 0'));
        await page.run('socket.close()');
        await publish(broker, 'demo/a', '2');
        await publish(broker, 'demo/b', '3');
        const rows = await untilShown(page, 3);
        assert.deepEqual(rows.map(({ topic, offset }) => `${topic} ${offset}`).sort(), [
            'demo/a 1',
            'demo/a 2',
            'demo/b 1',
        ]);
        assert.deepEqual(page.complaints, []);
    }));

test('with a token on the admin port it asks for it, and goes on', () =>
    withBroker(
        {
            ...OPTIONS,
            set: { ...OPTIONS.set, 'admin.token_file': '@FOLDER@/token' },
            files: { token: 'a-token-of-16-bytes-or-more\n' },
        },
        async (broker) => {
            const page = await browser.open(`http://${broker.admin}/`);
            await until('the field to be there', () => page.run('!document.getElementById("tokens").hidden'));
            await submit(page, 'token-form', { 'admin-token': 'a-token-of-16-bytes-or-more' });
            await until('the numbers to come', () =>
                page.run('document.getElementById("status").textContent === "ready"'),
            );
            await page.run('sessionStorage.clear()');
        },
    ));

/* The lowest contrast of a text with its ground, and which text it is. */
const CONTRAST = `(() => {
    const light = (color) => {
        const parts = color.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
            .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
    };
    const clear = (color) => color === 'transparent' || /, 0\\)$/.test(color);
    const groundOf = (at) => { while (at && clear(getComputedStyle(at).backgroundColor)) at = at.parentElement;
        return getComputedStyle(at ?? document.body).backgroundColor; };
    let worst = { contrast: 21 };
    for (const at of document.querySelectorAll('body *:not(script)')) {
        const own = [...at.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!own || !at.getClientRects().length) continue;
        const [a, b] = [light(getComputedStyle(at).color), light(groundOf(at))].sort((x, y) => y - x);
        const contrast = (a + 0.05) / (b + 0.05);
        if (contrast < worst.contrast) worst = { contrast, text: at.textContent.slice(0, 40) };
    }
    return worst;
})()`;

test('it looks right on a desk and on a phone, light and dark', () =>
    withBroker(OPTIONS, async (broker) => {
        const page = await openPage(broker);
        mkdirSync(FOLDER, { recursive: true });
        for (let n = 1; n <= 30; n++) {
            await publish(
                broker,
                `demo/${['hello', 'ticker', 'a/rather/long/topic/name'][n % 3]}`,
                `message ${n} `.repeat(n % 7 ? 1 : 12),
            );
        }
        await untilShown(page, 30);
        await until('the plots to have something to show', async () => {
            await publish(broker, 'demo/ticker', 'tick');
            return page.run('plots.delay.lines[0].length >= 5');
        });
        for (const screen of SCREENS) {
            for (const scheme of ['light', 'dark']) {
                await page.command('Emulation.setDeviceMetricsOverride', { ...screen, deviceScaleFactor: 1 });
                await page.command('Emulation.setEmulatedMedia', {
                    features: [{ name: 'prefers-color-scheme', value: scheme }],
                });
                await publish(broker, 'demo/ticker', `${screen.name}, ${scheme}`);
                await until('the page to be as wide as the screen', () => page.run(`innerWidth === ${screen.width}`));
                const { data } = await page.command('Page.captureScreenshot', { captureBeyondViewport: true });
                const path = join(FOLDER, `page-${screen.name}-${scheme}.png`);
                writeFileSync(path, Buffer.from(data, 'base64'));
                assert.ok(statSync(path).size > 10_000, `${path} shows something`);
                const wide = await page.run('document.documentElement.scrollWidth');
                assert.ok(wide <= screen.width, `${wide} px on a screen of ${screen.width}`);
                const { contrast, text } = await page.run(CONTRAST);
                assert.ok(contrast >= 4.5, `'${text}' stands out by ${contrast} only (${scheme})`);
            }
        }
        assert.deepEqual(page.complaints, []);
    }));
