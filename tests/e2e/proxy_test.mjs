/*
 * proxy_test: a broker behind nginx and HAProxy that speak TLS, configured as docs/OPERATIONS.md prints it. Everything
 * that a client has must come through: all ways to follow and to publish, deflated messages, pings, the largest
 * message, close codes with the time at which to come back; and connections that are kept must not lose a request.
 */
import assert from 'node:assert/strict';
import https from 'node:https';
import { test } from 'node:test';

import { withBroker } from '../integration/harness/broker.mjs';
import { EventStream, get, history, post, publish } from '../integration/harness/http.mjs';
import { pause, until, within } from '../integration/harness/wait.mjs';
import { JsonClient, RawClient } from '../integration/harness/ws.mjs';
import { PROXIES, Proxy } from './proxies.mjs';

const OPTIONS = { shards: 2, set: { 'namespace.default.history_messages': 1000 } };

/* A broker, and the proxy in front of it. */
async function withProxy(name, more, body) {
    await withBroker({ ...OPTIONS, set: { ...OPTIONS.set, ...more } }, async (broker) => {
        const proxy = await Proxy.start(name, broker);
        try {
            await body(proxy, broker);
        } catch (error) {
            error.message += `\n--- ${name} ---\n${proxy.log}`;
            throw error;
        } finally {
            proxy.stop();
        }
    });
}

/* HAProxy asks for the broker's health first. */
async function untilServed(proxy) {
    await until('the proxy to find the broker well', async () => {
        const { status } = await get(proxy, '/v1/topics/proxy/served');
        return status === 200;
    });
}

for (const name of Object.keys(PROXIES)) {
    test(`${name}: all ways to publish and to follow`, async () => {
        await withProxy(name, {}, async (proxy) => {
            await untilServed(proxy);
            const json = await JsonClient.open(proxy, { deflate: true });
            assert.match(json.upgrade_headers['sec-websocket-extensions'], /permessage-deflate/);
            await json.subscribe('proxy/#');
            const raw = await RawClient.open(proxy, 'proxy/a', { mode: 'both' });
            const events = await EventStream.open(proxy, 'proxy/a');
            const long = 'a message that is deflated '.repeat(100);
            await publish(proxy, 'proxy/a', long);
            await json.publish('proxy/a', 2);
            raw.send('3');
            const seen = await json.inbox.takeMany(3);
            assert.deepEqual(seen.map(({ offset, data }) => [offset, data]), [[1, long], [2, 2], [3, '3']]);
            assert.deepEqual(await raw.inbox.takeMany(3), [JSON.stringify(long), '2', '3']);
            const streamed = await events.inbox.takeMany(3);
            assert.deepEqual(streamed.map(({ data }) => data), [JSON.stringify(long), '2', '3']);
            assert.equal((await history(proxy, 'proxy/a')).messages.length, 3);
            await json.close();
            await raw.close();
            events.cut();
        });
    });

    test(`${name}: the largest message, and one that is larger`, async () => {
        await withProxy(name, {}, async (proxy) => {
            await untilServed(proxy);
            const whole = Buffer.alloc(1024 * 1024, 'x');
            assert.equal((await post(proxy, 'proxy/large', whole)).status, 200);
            assert.equal((await post(proxy, 'proxy/large', Buffer.alloc(1024 * 1024 + 1, 'x'))).status, 413);
            const raw = await RawClient.open(proxy, 'proxy/large', { from: 'last' });
            assert.equal((await raw.inbox.take()).length, whole.length);
            await raw.close();
        });
    });

    test(`${name}: pings keep a silent connection`, async () => {
        await withProxy(name, { 'heartbeat.interval_s': 1, 'heartbeat.timeout_s': 60 }, async (proxy, broker) => {
            await untilServed(proxy);
            const json = await JsonClient.open(proxy);
            const events = await EventStream.open(proxy, 'proxy/silent');
            await broker.untilStats('three pings each', (stats) => stats.heartbeats_sent >= 6);
            await until('comments to come through', () => events.comments >= 2);
            assert.equal((await json.ask('ping')).op, 'pong');
            await json.close();
            events.cut();
        });
    });

    test(`${name}: requests on connections that the broker has closed meanwhile are not lost`, async () => {
        await withProxy(name, { 'limits.handshake_ms': 500 }, async (proxy, broker) => {
            await untilServed(proxy);
            const agent = new https.Agent({ keepAlive: true });
            for (let n = 1; n <= 8; n++) {
                const answer = await post(proxy, 'proxy/kept', `${n}`, {}, { agent });
                assert.deepEqual([answer.status, answer.json.offset], [200, n]);
                if (n % 2) await broker.untilStats('it to close what is idle', ({ connections }) => connections === 0);
                else await pause(n * 20);
            }
            agent.destroy();
        });
    });

    test(`${name}: a drain tells everybody when to come back`, async () => {
        await withProxy(name, { 'limits.return_rate': 1 }, async (proxy, broker) => {
            await untilServed(proxy);
            const clients = await Promise.all([1, 2, 3].map(() => JsonClient.open(proxy)));
            broker.signal('SIGTERM');
            for (const client of clients) {
                const { code, reason } = await within('the drain', client.closed);
                assert.equal(code, 4000);
                assert.match(reason, / after_ms=\d+$/);
            }
            await broker.stopped();
            const { status } = await get(proxy, '/v1/topics/proxy/served');
            assert.ok([502, 503].includes(status), `the proxy says ${status}`);
        });
    });
}
