/*
 * auth_test: tokens, by every way in which they may come, and what they allow. The tokens are made here, by node:crypto
 * and not by the library that the broker verifies them with.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Broker, withBroker } from './harness/broker.mjs';
import { EventStream, get, history, post } from './harness/http.mjs';
import { hs256, mayDo, newRsaKeys, newSecret, rs256, secondsFromNow, unsigned } from './harness/tokens.mjs';
import { until } from './harness/wait.mjs';
import { Wire } from './harness/wire.mjs';
import { JsonClient, RawClient, topicPath } from './harness/ws.mjs';

const SECRET = newSecret();
const EVERYTHING = mayDo({ pub: ['#'], sub: ['#'] });
const bearer = (token) => ({ authorization: `Bearer ${token}` });

/* A broker that knows SECRET. The key file stands in its folder. */
const keyed = (set = {}) => ({
    shards: 2,
    set: { 'auth.hs256_key_file': '@FOLDER@/secret', ...set },
    files: { secret: SECRET },
});
const over = (name, set, body) => test(name, () => withBroker(keyed(set), body));

const echo = { 'debug.echo': true, 'limits.message_ms': 300 };
over('an echo owes no token, but has no longer for a message', echo, async (broker) => {
    const wire = await Wire.open(broker, '/v1/echo');
    await wire.sendFrame({ payload: 'x' });
    assert.equal(await wire.readText(), 'x');
    await wire.sendFrame({ fin: false, payload: 'x' });
    assert.equal((await wire.readFrame()).payload.readUInt16BE(0), 4005);
    assert.equal((await post(broker, 'a', 'x')).status, 401);
});

over('HTTP: a token in the header or the query, or 401', {}, async (broker) => {
    const token = hs256(SECRET, EVERYTHING);
    assert.equal((await post(broker, 'a', 'x', bearer(token))).status, 200);
    assert.equal((await post(broker, 'a', 'x', {}, { query: { access_token: token } })).status, 200);
    assert.equal((await get(broker, '/v1/topics/a', { headers: bearer(token) })).status, 200);

    const none = await post(broker, 'a', 'x');
    assert.equal(none.status, 401);
    assert.equal(none.json.error.code, 'auth_required');
    assert.match(none.headers['www-authenticate'], /^Bearer/);
    assert.equal((await get(broker, '/v1/topics/a')).status, 401);
    assert.equal((await get(broker, '/v1/topics/a', { headers: { accept: 'text/event-stream' } })).status, 401);
    await assert.rejects(RawClient.open(broker, 'a'), { status: 401 });
});

over("a request has the rights of its own token, not of the one before it", {}, async (broker) => {
    const wire = await Wire.connect(broker);
    const ask = async (lines = '') => {
        await wire.send(`GET /v1/topics/a HTTP/1.1\r\nHost: x\r\n${lines}\r\n`);
        return (await wire.readHttp()).status;
    };
    const token = `Authorization: Bearer ${hs256(SECRET, EVERYTHING)}\r\n`;
    assert.deepEqual([await ask(token), await ask(), await ask(token)], [200, 401, 200]);
    assert.equal(await ask('Authorization: Bearer nonsense\r\n'), 401);
    assert.equal(await ask(), 401);
    wire.cut();
});

over('tokens that are not valid are refused in every form', {}, async (broker) => {
    const good = hs256(SECRET, EVERYTHING);
    const [header, payload, signature] = good.split('.');
    const other = Buffer.from(JSON.stringify({ ...EVERYTHING, sub: 'root' })).toString('base64url');
    const bad = {
        'no token': 'x',
        'two parts': `${header}.${payload}`,
        'no signature': `${header}.${payload}.`,
        'another secret': hs256(newSecret(), EVERYTHING),
        'other claims': `${header}.${other}.${signature}`,
        'the algorithm none': unsigned(EVERYTHING),
        'a key that is not configured': rs256(newRsaKeys().privateKey, EVERYTHING),
        'not yet': hs256(SECRET, { ...EVERYTHING, nbf: secondsFromNow(3600) }),
        'a claim of the wrong type': hs256(SECRET, { ...EVERYTHING, shoal: { pub: '#' } }),
        'a filter that is none': hs256(SECRET, mayDo({ pub: ['a//b'] })),
        'a name that is too long': hs256(SECRET, { ...EVERYTHING, sub: 's'.repeat(256) }),
    };
    for (const [what, token] of Object.entries(bad)) {
        const answer = await post(broker, 'a', 'x', bearer(token));
        assert.equal(answer.status, 401, what);
        assert.equal(answer.json.error.code, 'token_invalid', what);
        await assert.rejects(RawClient.open(broker, 'a', { access_token: token }), { status: 401 }, what);
        await assert.rejects(JsonClient.open(broker, { headers: bearer(token) }), { status: 401 }, what);
    }
    const expired = hs256(SECRET, { ...EVERYTHING, exp: secondsFromNow(-120) });
    const answer = await post(broker, 'a', 'x', bearer(expired));
    assert.equal(answer.status, 401);
    assert.equal(answer.json.error.code, 'token_expired');
    assert.ok((await broker.stats()).tokens_refused > 0);
    assert.ok(
        !broker.noise
            .concat(broker.lines.map((line) => JSON.stringify(line)))
            .join()
            .includes(signature),
        'no token stands in the log',
    );
});

over('rights: what a token does not allow is forbidden, everywhere', {}, async (broker) => {
    const token = hs256(SECRET, mayDo({ pub: ['chat/lobby', 'up/#'], sub: ['chat/#', 'user/anna/+'] }));
    const headers = bearer(token);
    assert.equal((await post(broker, 'chat/lobby', 'x', headers)).status, 200);
    for (const topic of ['chat/other', 'chat', 'elsewhere']) {
        const answer = await post(broker, topic, 'x', headers);
        assert.equal(answer.status, 403, topic);
        assert.equal(answer.json.error.code, 'forbidden', topic);
    }
    assert.equal((await get(broker, topicPath('chat/deep/down'), { headers })).status, 200);
    assert.equal((await get(broker, topicPath('up/a'), { headers })).status, 403, 'history is for who may subscribe');
    assert.equal(
        (await get(broker, topicPath('up/a'), { headers: { accept: 'text/event-stream', ...headers } })).status,
        403,
    );

    const client = await JsonClient.open(broker, { headers });
    for (const topic of ['chat', 'chat/#', 'chat/+/new', 'user/anna/inbox', 'user/anna/+'])
        await client.subscribe(topic);
    for (const topic of ['#', '+', 'user/anna/#', 'user/+/inbox', 'user/ben/inbox', 'user/anna', 'up/a'])
        assert.equal(await client.refusal('subscribe', { topic }), 'forbidden', topic);
    await client.publish('up/and/away', 1);
    assert.equal(await client.refusal('publish', { topic: 'chat/x', data: 1 }), 'forbidden');

    await RawClient.open(broker, 'chat/#', {}, { headers });
    await RawClient.open(broker, 'chat/lobby', { mode: 'both' }, { headers });
    await assert.rejects(RawClient.open(broker, 'user/#', {}, { headers }), { status: 403 });
    await assert.rejects(RawClient.open(broker, 'up/a', { mode: 'both' }, { headers }), { status: 403 });
    await assert.rejects(RawClient.open(broker, 'chat/x', { mode: 'pub' }, { headers }), { status: 403 });
});

over('the op auth: before it, only auth and ping', { 'limits.handshake_ms': 60_000 }, async (broker) => {
    const client = await JsonClient.open(broker);
    assert.equal((await client.ask('ping')).op, 'pong');
    for (const [op, fields] of [
        ['subscribe', { topic: 'a' }],
        ['publish', { topic: 'a', data: 1 }],
        ['unsubscribe', { topic: 'a' }],
    ])
        assert.equal(await client.refusal(op, fields), 'auth_required', op);
    assert.equal(await client.refusal('auth', { token: 'x' }), 'token_invalid');
    assert.equal(
        await client.refusal('auth', { token: hs256(SECRET, { exp: secondsFromNow(-100) }) }),
        'token_expired',
    );
    await client.request('auth', { token: hs256(SECRET, mayDo({ sub: ['a'] })) });
    await client.subscribe('a');
    assert.equal(await client.refusal('publish', { topic: 'a', data: 1 }), 'forbidden');
    await client.request('auth', { token: hs256(SECRET, mayDo({ pub: ['a'] })) });
    await client.publish('a', 1);
    assert.equal(await client.refusal('subscribe', { topic: 'b' }), 'forbidden', 'the newer token counts');
});

over('who shows no token in time is closed with 4401', { 'limits.handshake_ms': 500 }, async (broker) => {
    const late = await JsonClient.open(broker);
    const good = await JsonClient.open(broker, { headers: bearer(hs256(SECRET, EVERYTHING)) });
    const auth = await JsonClient.open(broker);
    await auth.request('auth', { token: hs256(SECRET, EVERYTHING) });
    assert.equal(await late.closeCode(), 4401);
    for (const client of [good, auth]) assert.equal((await client.ask('ping')).op, 'pong');
});

over('a token that expires closes its connection with 4402, unless a newer one came', {}, async (broker) => {
    // the broker allows for 30 s of clock skew: a token that expired 28 s ago is good for two more
    const brief = hs256(SECRET, { ...EVERYTHING, exp: secondsFromNow(-28) });
    const [json, raw, renewed] = await Promise.all([
        JsonClient.open(broker, { headers: bearer(brief) }),
        RawClient.open(broker, 'a', { access_token: brief }),
        JsonClient.open(broker, { headers: bearer(brief) }),
    ]);
    const events = await EventStream.open(broker, 'a', { access_token: brief });
    await json.subscribe('a');
    await renewed.request('auth', { token: hs256(SECRET, { ...EVERYTHING, exp: secondsFromNow(3600) }) });
    assert.equal(await json.closeCode(), 4402);
    assert.equal(await raw.closeCode(), 4402);
    await assert.rejects(events.inbox.take(), /ended/);
    assert.equal((await renewed.ask('ping')).op, 'pong');
    assert.equal((await broker.stats()).tokens_expired, 3);
});

test("RS256, alone and beside HS256; the public key is nobody's secret", async () => {
    const { publicKey, privateKey } = newRsaKeys();
    const options = {
        shards: 1,
        set: { 'auth.rs256_key_file': '@FOLDER@/public.pem' },
        files: { 'public.pem': publicKey, 'secret': SECRET },
    };
    await withBroker(options, async (broker) => {
        assert.equal((await post(broker, 'a', 'x', bearer(rs256(privateKey, EVERYTHING)))).status, 200);
        assert.equal((await post(broker, 'a', 'x', bearer(rs256(newRsaKeys().privateKey, EVERYTHING)))).status, 401);
        assert.equal((await post(broker, 'a', 'x', bearer(hs256(publicKey, EVERYTHING)))).status, 401);
        assert.equal((await post(broker, 'a', 'x', bearer(hs256(SECRET, EVERYTHING)))).status, 401);
    });
    options.set['auth.hs256_key_file'] = '@FOLDER@/secret';
    await withBroker(options, async (broker) => {
        assert.equal((await post(broker, 'a', 'x', bearer(rs256(privateKey, EVERYTHING)))).status, 200);
        assert.equal((await post(broker, 'a', 'x', bearer(hs256(SECRET, EVERYTHING)))).status, 200);
        assert.equal((await post(broker, 'a', 'x', bearer(hs256(publicKey, EVERYTHING)))).status, 401);
    });
});

over(
    'audience and issuer are looked at if they are configured',
    { 'auth.audience': 'shoal', 'auth.issuer': 'us' },
    async (broker) => {
        const status = async (claims) =>
            (await post(broker, 'a', 'x', bearer(hs256(SECRET, { ...EVERYTHING, ...claims })))).status;
        assert.equal(await status({ aud: 'shoal', iss: 'us' }), 200);
        assert.equal(await status({ aud: ['other', 'shoal'], iss: 'us' }), 200);
        assert.equal(await status({ aud: 'other', iss: 'us' }), 401);
        assert.equal(await status({ aud: 'shoal', iss: 'them' }), 401);
        assert.equal(await status({ aud: 'shoal' }), 401);
        assert.equal(await status({}), 401);
    },
);

over('SIGHUP: a key that was changed counts from then on; who is in stays in', {}, async (broker) => {
    const old_token = hs256(SECRET, EVERYTHING);
    const client = await JsonClient.open(broker, { headers: bearer(old_token) });
    const new_secret = newSecret();
    broker.file('secret', new_secret);
    broker.signal('SIGHUP');
    await until(
        'the new key to count',
        async () => (await post(broker, 'a', 'x', bearer(hs256(new_secret, EVERYTHING)))).status === 200,
    );
    assert.equal((await post(broker, 'a', 'x', bearer(old_token))).status, 401);
    await client.publish('a', 1);
});

test('without a key everybody may do everything, and a token is not looked at', () =>
    withBroker({ shards: 1 }, async (broker) => {
        assert.equal((await post(broker, 'a', 'x')).status, 200);
        assert.equal((await history(broker, 'a')).offset, 1);
        const client = await JsonClient.open(broker);
        await client.subscribe('#');
    }));

test('a key file that is missing, empty or too short: the broker does not start', async () => {
    for (const [name, text] of [
        ['missing', undefined],
        ['empty', ''],
        ['short', 'too short'],
    ]) {
        const files = text === undefined ? {} : { [name]: text };
        await assert.rejects(
            Broker.start({ set: { 'auth.hs256_key_file': `@FOLDER@/${name}` }, files }),
            /ended before/,
            name,
        );
    }
});
