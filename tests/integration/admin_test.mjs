/*
 * admin_test: the admin port of a real broker: what it says agrees with what the test did, its listings page, its
 * levers work, and it keeps out whom it should.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import http from 'node:http';
import { connect } from 'node:net';
import { test } from 'node:test';

import { Broker, runShoald, SHARD_COUNTS, withBroker } from './harness/broker.mjs';
import { EventStream, publish } from './harness/http.mjs';
import { hs256, mayDo } from './harness/tokens.mjs';
import { until, within } from './harness/wait.mjs';
import { JsonClient, RawClient } from './harness/ws.mjs';

const LEVER = { 'shoal-admin': '1' };
const HISTORY = { 'namespace.default.history_messages': 100 };

/* One request to the admin port: {status, headers, text, json}. */
function ask(broker, path, { method = 'GET', headers = {} } = {}) {
    const answer = new Promise((resolve, reject) => {
        const sent = http.request(`http://${broker.admin}${path}`, { method, headers, agent: false }, (response) => {
            let text = '';
            response.setEncoding('utf8');
            response.on('data', (part) => {
                text += part;
            });
            response.on('end', () => {
                const json = response.headers['content-type'] === 'application/json' ? JSON.parse(text) : undefined;
                resolve({ status: response.statusCode, headers: response.headers, text, json });
            });
            response.on('error', reject);
        });
        sent.on('error', reject);
        sent.end();
    });
    return within(`the answer to ${method} ${path}`, answer);
}

/* All records of a listing, by pages of `limit`. */
async function list(broker, path, name, limit = 3) {
    const records = [];
    let after;
    do {
        const page = (await ask(broker, `${path}?limit=${limit}${after ? `&after=${after}` : ''}`)).json;
        assert.ok(page[name].length <= limit);
        records.push(...page[name]);
        after = page.next;
    } while (after !== null);
    return records;
}

/* {name: sum over its samples} of the text format, without histograms' buckets. */
function sums(text) {
    const found = {};
    for (const line of text.split('\n').filter((line) => line && !line.startsWith('#') && !line.includes('le='))) {
        const [, name, value] = /^(\w+)(?:\{[^}]*\})? (\S+)$/.exec(line);
        found[name] = (found[name] ?? 0) + Number(value);
    }
    return found;
}

for (const shards of SHARD_COUNTS) {
    test(`listings, statistics and metrics agree, with each other and with what was done: ${shards} shards`, () =>
        withBroker({ shards, set: HISTORY }, async (broker) => {
            const clients = await Promise.all(Array.from({ length: 10 }, () => JsonClient.open(broker)));
            for (const client of clients) await client.subscribe('fleet/#');
            for (const client of clients.slice(0, 4)) await client.subscribe('fleet/a');
            for (let n = 0; n < 5; n++)
                for (const topic of ['fleet/a', 'fleet/b', 'other/c']) await publish(broker, topic, n);
            const stats = await until('all deliveries to be counted', async () => {
                const { json } = await ask(broker, '/v1/stats');
                return json.counters.deliveries === 10 * 10 + 4 * 5 && json.gauges.connections === 10 && json;
            });
            assert.equal(stats.status, 'ready');
            assert.equal(stats.gauges.subscriptions, 14);
            assert.equal(stats.counters.publishes, 15);
            assert.ok(stats.delay_us.count > 0 && stats.delay_us.p50 <= stats.delay_us.p99);
            assert.equal(
                stats.delay_us.count,
                stats.delay_us.buckets.reduce((sum, [, count]) => sum + count, 0),
            );

            const connections = await list(broker, '/v1/connections', 'connections');
            assert.deepEqual(
                connections.map(({ id }) => id).sort(),
                clients.map(({ hello }) => hello.session).sort(),
            );
            assert.ok(
                connections.every(({ state, dialect, behind }) => state === 'open' && dialect === 'json' && !behind),
            );
            assert.equal(
                connections.reduce((sum, { subscriptions }) => sum + subscriptions, 0),
                14,
            );

            const topics = await list(broker, '/v1/topics', 'topics', 1);
            assert.deepEqual(topics.map(({ topic }) => topic).sort(), ['fleet/a', 'fleet/b', 'other/c']);
            assert.ok(topics.every(({ offset, history_messages: kept }) => offset === 5 && kept === 5));

            const filters = await list(broker, '/v1/filters', 'filters', 1);
            assert.ok(filters.every(({ name }) => name === 'fleet/#'));
            assert.equal(
                filters.reduce((sum, { subscribers }) => sum + subscribers, 0),
                10,
            );

            const topic = (await ask(broker, '/v1/topics/fleet/a')).json;
            assert.equal(topic.offset, 5);
            assert.equal(
                topic.feeds.reduce((sum, { subscribers }) => sum + subscribers, 0),
                4,
            );
            assert.deepEqual(topic, (await ask(broker, '/v1/topics/fleet%2Fa')).json);
            const filter = (await ask(broker, '/v1/topics/fleet/%23')).json;
            assert.equal(
                filter.feeds.reduce((sum, { subscribers }) => sum + subscribers, 0),
                10,
            );

            const by_shard = (await ask(broker, '/v1/shards')).json.shards;
            assert.equal(by_shard.length, shards);
            assert.equal(
                by_shard.reduce((sum, { counters }) => sum + counters.publishes, 0),
                15,
            );

            const metrics = sums((await ask(broker, '/metrics')).text);
            assert.equal(metrics.shoal_connections, 10);
            assert.equal(metrics.shoal_subscriptions, 14);
            assert.equal(metrics.shoal_publishes_total, 15);
            assert.equal(metrics.shoal_deliveries_total, 120);
            assert.equal(metrics.shoal_topics, 3);
            assert.equal(metrics.shoal_delivery_delay_seconds_count, stats.delay_us.count);
            assert.equal(metrics.shoal_ready, 1);
            for (const client of clients) await client.close();
            await broker.untilNothingIsLeft();
        }));
}

test(
    'promtool finds nothing to say about the metrics',
    { skip: spawnSync('promtool', ['--version']).error && 'no promtool' },
    () =>
        withBroker({ shards: 2, set: HISTORY }, async (broker) => {
            const reader = await RawClient.open(broker, 'a');
            await publish(broker, 'a', 1);
            await reader.inbox.take();
            const { text, headers } = await ask(broker, '/metrics');
            assert.match(headers['content-type'], /^text\/plain; version=0\.0\.4/);
            const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
                input: text,
                encoding: 'utf8',
            });
            assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: '', stderr: '' });
        }),
);

test('a long listing is complete, page by page, while others come and go', () =>
    withBroker({ shards: 2 }, async (broker) => {
        const stay = await Promise.all(Array.from({ length: 300 }, () => RawClient.open(broker, 'a')));
        const pages = list(broker, '/v1/connections', 'connections', 7);
        for (let n = 0; n < 20; n++) (await RawClient.open(broker, 'b')).cut();
        const ids = (await pages).map(({ id }) => id);
        assert.equal(new Set(ids).size, ids.length, 'none twice');
        assert.ok(ids.length >= stay.length);
        const big = (await ask(broker, '/v1/connections?limit=1000')).json;
        assert.ok(big.connections.length >= stay.length);
        for (const client of stay) client.cut();
        await broker.untilNothingIsLeft();
    }));

test('a connection is kicked with 4003, once', () =>
    withBroker({ shards: 5 }, async (broker) => {
        const [client, other] = [await JsonClient.open(broker), await JsonClient.open(broker)];
        const path = `/v1/connections/${client.hello.session}/kick`;
        assert.equal((await ask(broker, path, { method: 'POST', headers: LEVER })).status, 200);
        const { code } = await within('the close', client.closed);
        assert.equal(code, 4003);
        await until(
            'the slot to be free',
            async () => (await ask(broker, '/v1/stats')).json.gauges.connections === 1,
        );
        const again = await ask(broker, path, { method: 'POST', headers: LEVER });
        assert.equal(again.status, 404);
        assert.equal(again.json.error.code, 'no_such_connection');
        assert.equal((await other.request('ping')).op, 'pong');
        const stream = await EventStream.open(broker, 'a');
        const { connections } = (await ask(broker, '/v1/connections')).json;
        const { id } = connections.find(({ state }) => state === 'stream');
        assert.equal(
            (await ask(broker, `/v1/connections/${id}/kick`, { method: 'POST', headers: LEVER })).status,
            200,
        );
        await within('the stream to end', stream.ended);
    }));

test('drain: readiness says no at once, the connected are told to come back, the process ends well', async () => {
    const broker = await Broker.start({ shards: 2, set: { 'broker.drain_s': 1 } });
    const clients = await Promise.all(Array.from({ length: 10 }, () => JsonClient.open(broker)));
    assert.equal((await ask(broker, '/readyz')).status, 200);
    const answer = await ask(broker, '/v1/drain', { method: 'POST', headers: LEVER });
    assert.deepEqual([answer.status, answer.json], [202, { draining: true, connections: 10 }]);
    const ready = await ask(broker, '/readyz');
    assert.deepEqual([ready.status, ready.json.status], [503, 'draining']);
    assert.equal((await ask(broker, '/healthz')).status, 200, 'draining is healthy');
    for (const client of clients) assert.equal((await within('the close', client.closed)).code, 4000);
    await broker.stopped();
    broker.abandon();
});

test('levers are out of reach of other origins, and nothing is answered to a rebound name', () =>
    withBroker({ shards: 1 }, async (broker) => {
        const refused = async (code, path, options) => {
            const { status, json } = await ask(broker, path, options);
            assert.deepEqual([status, json.error.code], [403, code], path);
        };
        await refused('header_required', '/v1/drain', { method: 'POST' });
        await refused('header_required', '/v1/drain', {
            method: 'POST',
            headers: { ...LEVER, origin: 'http://evil.example' },
        });
        await refused('header_required', '/v1/connections/0-0-1/kick', { method: 'POST' });
        await refused('host_forbidden', '/v1/stats', { headers: { host: 'evil.example' } });
        await refused('host_forbidden', '/', { headers: { host: 'evil.example:7071' } });
        for (const host of ['localhost', 'LOCALHOST:1', '127.0.0.1', '[::1]:7071', '10.0.0.1:80']) {
            assert.equal((await ask(broker, '/v1/version', { headers: { host } })).status, 200, host);
        }
        const own = { ...LEVER, origin: `http://${broker.admin}` };
        assert.equal((await ask(broker, '/v1/connections/0-0-1/kick', { method: 'POST', headers: own })).status, 404);
        const preflight = await ask(broker, '/v1/drain', {
            method: 'OPTIONS',
            headers: { origin: 'http://evil.example' },
        });
        assert.equal(preflight.status, 405);
        assert.equal(preflight.headers['access-control-allow-origin'], undefined);
    }));

test('who sends a byte now and then does not keep others out', () =>
    withBroker({ shards: 1 }, async (broker) => {
        const [host, port] = broker.admin.split(':');
        const drip = () =>
            new Promise((resolve) => {
                const socket = connect({ host, port, localAddress: '127.0.0.2' });
                socket.on('close', () => resolve('closed')).on('error', () => {});
                socket.write('GET /', () => resolve(socket));
            });
        const dripping = await Promise.all(Array.from({ length: 80 }, drip));
        assert.equal((await ask(broker, '/healthz')).status, 200);
        for (const socket of dripping) if (socket !== 'closed') socket.destroy();
    }));

test('what is asked wrongly is told so', () =>
    withBroker({ shards: 2 }, async (broker) => {
        for (const [path, status, code] of [
            ['/v1/nothing', 404, 'not_found'],
            ['/v1/topics/', 404, 'not_found'],
            ['/v1/topics/a//b', 400, 'topic_invalid'],
            [`/v1/topics/${'x'.repeat(256)}`, 400, 'topic_invalid'],
            ['/v1/topics/nobody/here', 404, 'no_such_topic'],
            ['/v1/topics?limit=0', 400, 'limit_invalid'],
            ['/v1/topics?limit=1001', 400, 'limit_invalid'],
            ['/v1/topics?limit=many', 400, 'limit_invalid'],
            ['/v1/topics?after=2:0', 400, 'after_invalid'],
            ['/v1/topics?after=0', 400, 'after_invalid'],
            ['/v1/topics?after=0:99999999999', 400, 'after_invalid'],
            ['/v1/drain', 405, 'method_not_allowed'],
        ]) {
            const answer = await ask(broker, path);
            assert.deepEqual([answer.status, answer.json.error.code], [status, code], path);
        }
        for (const id of ['x', '0-0', '2-0-1', '0-0-70000', '0-4294967295-1', '-1-0-1', '0-0-1-1']) {
            const answer = await ask(broker, `/v1/connections/${id}/kick`, { method: 'POST', headers: LEVER });
            assert.equal(answer.status, 404, id);
        }
        assert.deepEqual((await ask(broker, '/v1/topics?after=1:4294967295')).json, { topics: [], next: null });
        assert.equal((await ask(broker, '/metrics', { method: 'HEAD' })).text, '');
    }));

test('with a token: all but health, readiness and the page wants it', () =>
    withBroker(
        { shards: 1, set: { 'admin.token_file': '@FOLDER@/token' }, files: { token: 'correct-horse-battery\n' } },
        async (broker) => {
            const bearer = (token) => ({ headers: { authorization: `Bearer ${token}`, host: 'any.name' } });
            for (const path of ['/healthz', '/readyz', '/'])
                assert.equal((await ask(broker, path)).status, 200, path);
            for (const path of ['/metrics', '/v1/stats', '/v1/connections', '/v1/version']) {
                const none = await ask(broker, path);
                assert.deepEqual([none.status, none.headers['www-authenticate']], [401, 'Bearer'], path);
                assert.equal((await ask(broker, path, bearer('correct-horse-batterx'))).status, 401, path);
                assert.equal((await ask(broker, path, bearer('correct-horse'))).status, 401, path);
                assert.equal((await ask(broker, path, bearer('correct-horse-battery'))).status, 200, path);
            }
            assert.equal((await ask(broker, '/v1/drain', { method: 'POST', headers: LEVER })).status, 401);
        },
    ));

test('elsewhere than on loopback it does not start without a token', async () => {
    const set = ['--set', 'listen.address=127.0.0.1:0', '--set', 'admin.address=0.0.0.0:0'];
    const open = await runShoald([...set, '--set', 'auth.anonymous=true']);
    assert.equal(open.status, 1);
    assert.match(open.stderr, /admin\.address .* is not loopback.*admin\.token_file/);
    const missing = await runShoald([...set, '--set', 'admin.token_file=/nonexistent/token']);
    assert.equal(missing.status, 1);
    assert.match(missing.stderr, /admin_failed.*admin\.token_file \/nonexistent\/token: No such file/);
});

test('who a connection is is shown by its identity', () =>
    withBroker(
        { shards: 1, set: { 'auth.hs256_key_file': '@FOLDER@/secret' }, files: { secret: 's'.repeat(64) } },
        async (broker) => {
            const token = hs256('s'.repeat(64), { ...mayDo({ sub: ['#'] }), sub: 'ada "the first"\n' });
            const client = await JsonClient.open(broker, { headers: { authorization: `Bearer ${token}` } });
            const [shown] = (await ask(broker, '/v1/connections')).json.connections;
            assert.deepEqual([shown.id, shown.identity], [client.hello.session, 'ada "the first"\n']);
            assert.equal((await ask(broker, '/v1/version')).json.tokens, true);
        },
    ));
