/*
 * cli_test: `shoal` against a real broker: what it prints, for people and for programs, and with which status it ends.
 *
 * SHOAL names the program; without it, it is the one beside shoald.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { Broker, SHOALD, withBroker } from './harness/broker.mjs';
import { EventStream, publish } from './harness/http.mjs';
import { hs256, mayDo } from './harness/tokens.mjs';
import { Mailbox, until, within } from './harness/wait.mjs';
import { JsonClient } from './harness/ws.mjs';

const SHOAL = process.env.SHOAL ?? join(dirname(SHOALD), 'shoal');
const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const STATUS = { DONE: 0, FAILED: 1, USAGE: 2, UNREACHABLE: 3, FORBIDDEN: 4, NOT_FOUND: 5, TIMEOUT: 6 };
const HISTORY = { 'namespace.default.history_messages': 100 };

const environment = (broker, more = {}) => ({
    ...process.env,
    ...(broker && { SHOAL_URL: `ws://${broker.data}`, SHOAL_ADMIN: `http://${broker.admin}` }),
    ...more,
});

/* Starts it: {lines: a mailbox of its output, errors, ended: promise of its status, end()}. */
function start(broker, args, { input, env } = {}) {
    const child = spawn(SHOAL, args, { env: environment(broker, env), stdio: ['pipe', 'pipe', 'pipe'] });
    const running = { lines: new Mailbox(`a line of shoal ${args.join(' ')}`), output: '', errors: '', child };
    createInterface({ input: child.stdout }).on('line', (line) => running.lines.push(line));
    child.stdout.on('data', (bytes) => {
        running.output += bytes;
    });
    child.stderr.on('data', (bytes) => {
        running.errors += bytes;
    });
    running.ended = new Promise((resolve, reject) => {
        child.on('error', reject);
        child.on('close', (status, signal) => {
            broker?.clients.delete(running);
            running.lines.end('shoal ended');
            resolve(status ?? signal);
        });
    });
    running.cut = () => child.kill('SIGKILL');
    broker?.clients.add(running);
    child.stdin.on('error', () => {});
    if (input !== null) child.stdin.end(input);
    return running;
}

/* Runs it to its end: {status, output, errors}. */
async function shoal(broker, args, options) {
    const running = start(broker, args, options);
    const status = await within(`shoal ${args.join(' ')} to end`, running.ended);
    return { status, output: running.output, errors: running.errors };
}

async function done(broker, args, options) {
    const { status, output, errors } = await shoal(broker, args, options);
    assert.deepEqual({ status, errors }, { status: STATUS.DONE, errors: '' }, `shoal ${args.join(' ')}`);
    return output;
}

/* A `shoal sub` that stands. */
async function subscriber(broker, args) {
    const before = (await (await fetch(`http://${broker.admin}/v1/stats`)).json()).counters.subscribes;
    const running = start(broker, ['sub', ...args]);
    await until('shoal sub to stand', async () => {
        const { counters } = await (await fetch(`http://${broker.admin}/v1/stats`)).json();
        return counters.subscribes > before;
    });
    return running;
}

test('what pub publishes, sub, a stream and a WebSocket see in one order', () =>
    withBroker({ shards: 5, set: HISTORY }, async (broker) => {
        const sub = await subscriber(broker, ['cli/#']);
        const stream = await EventStream.open(broker, 'cli/a');
        const socket = await JsonClient.open(broker);
        await socket.subscribe('cli/a');
        assert.match(await done(broker, ['pub', 'cli/a', 'one']), /^[0-9a-f]{16}:1\n$/);
        assert.match(await done(broker, ['pub', '--type', 'json', 'cli/a'], { input: '{"two": 2}' }), /:2\n$/);
        const positions = await done(broker, ['pub', '--lines', 'cli/a'], { input: 'three\n\nfive' });
        assert.deepEqual(
            positions
                .trimEnd()
                .split('\n')
                .map((line) => line.split(':')[1]),
            ['3', '4', '5'],
        );
        const expected = ['one', '{"two": 2}', 'three', '', 'five'];
        for (const [n, text] of expected.entries()) {
            assert.equal(await sub.lines.take(), `cli/a  ${n + 1}  ${text}`);
            const { offset, data } = await socket.inbox.take();
            assert.deepEqual([offset, data], [n + 1, n === 1 ? { two: 2 } : text]);
        }
        sub.child.kill('SIGINT');
        assert.equal(await sub.ended, STATUS.DONE);
        stream.cut?.();
    }));

test('sub: json, raw, count, from, timeout', () =>
    withBroker({ shards: 2, set: HISTORY }, async (broker) => {
        await done(broker, ['pub', 'a', 'first']);
        const [epoch] = (
            await done(broker, ['pub', '--type', 'binary', 'a'], { input: Buffer.from([0, 255]) })
        ).split(':');
        await done(broker, ['pub', '--type', 'json', 'a', '[1,\n2]']);
        const lines = (await done(broker, ['sub', '--json', '--count', '2', '--from', `${epoch}:1`, 'a']))
            .trimEnd()
            .split('\n');
        const [binary, json] = lines.map((line) => JSON.parse(line));
        assert.deepEqual(
            [binary.offset, binary.epoch, binary.kind, binary.data_base64],
            [2, epoch, 'binary', 'AP8='],
        );
        assert.deepEqual([json.offset, json.kind, json.data], [3, 'json', [1, 2]]);
        assert.ok(Math.abs(json.time_ms - Date.now()) < 600_000);
        assert.equal(await done(broker, ['sub', '--raw', '--count', '1', '--from', 'last', 'a']), '[1,\n2]\n');
        assert.equal(
            (await shoal(broker, ['sub', '--timeout', '0.2', '--count', '9', '--from', 'last', 'a'])).status,
            STATUS.TIMEOUT,
        );
        assert.equal((await shoal(broker, ['sub', '--timeout', '0.2', 'a'])).status, STATUS.DONE);
        const gap = await shoal(broker, ['sub', '--json', '--count', '1', '--from', '0000000000000abc:1', 'a']);
        assert.match(gap.output, /^\{"gap":true,"topic":"a",.*"reason":"epoch"\}\n/);
    }));

test('the same key is published once', () =>
    withBroker({ shards: 2, set: HISTORY }, async (broker) => {
        const first = await done(broker, ['pub', '--key', 'order-17', 'a', 'x']);
        assert.equal(await done(broker, ['pub', '--key', 'order-17', 'a', 'x']), first);
    }));

test('sub goes on by itself when the broker has been away', async () => {
    const broker = await Broker.start({ shards: 2 });
    const sub = await subscriber(broker, ['a']);
    await publish(broker, 'a', 'before');
    assert.match(await sub.lines.take(), /before/);
    broker.clients.delete(sub);
    const { data, admin } = broker;
    await broker.stop();
    const again = await Broker.start({ shards: 2, set: { 'listen.address': data, 'admin.address': admin } });
    again.clients.add(sub);
    await until(
        'sub to stand again',
        async () => (await (await fetch(`http://${admin}/v1/stats`)).json()).counters.subscribes > 0,
    );
    await publish(again, 'a', 'after');
    assert.match(await sub.lines.take(), /after/);
    assert.match(sub.errors, /lost|going away|shutting down|closed/i);
    sub.child.kill('SIGTERM');
    assert.equal(await sub.ended, STATUS.DONE);
    await again.stop();
});

test('pub --lines says which line it was', () =>
    withBroker({ shards: 1 }, async (broker) => {
        const lines = { input: '{"n":1}\n{"n":2}\n{\n{"n":4}\n' };
        const result = await shoal(broker, ['pub', '--lines', '--type', 'json', 'a'], lines);
        assert.equal(result.status, STATUS.USAGE);
        assert.match(result.errors, /line 3: .*JSON/);
        assert.match(result.output, /^[0-9a-f]{16}:1\n[0-9a-f]{16}:2\n/);

        const running = start(broker, ['pub', '--lines', '--timeout', '0.5', 'a'], { input: null });
        running.child.stdin.write('one\n');
        assert.match(await running.lines.take(), /:\d$/); // at once, although it is a pipe
        broker.clients.delete(running);
        await broker.stop();
        running.child.stdin.end('two\nthree\n');
        assert.equal(await running.ended, STATUS.TIMEOUT);
        assert.match(running.errors, /not all was acknowledged within 0.5 s/);
        assert.match(running.errors, /line 2: .*\n.* 1 more line was not acknowledged/);
    }));

test('what the admin port knows, as tables and as JSON', () =>
    withBroker({ shards: 2, set: HISTORY }, async (broker) => {
        const client = await JsonClient.open(broker);
        await client.subscribe('fleet/#');
        await client.subscribe('fleet/a');
        for (let n = 1; n <= 3; n++)
            for (const topic of ['fleet/a', 'fleet/b', 'other']) await publish(broker, topic, n);
        const parsed = async (...args) =>
            (await done(broker, [...args, '--json']))
                .trimEnd()
                .split('\n')
                .map((line) => JSON.parse(line));

        /* The publishers are gone, but the broker may still have to read that they are. */
        await until('only the client is connected', async () => (await parsed('conns')).length === 1);
        const [conn] = await parsed('conns');
        assert.deepEqual([conn.id, conn.subscriptions], [client.hello.session, 2]);
        assert.match(await done(broker, ['conns']), new RegExp(`^ID .*\\n${client.hello.session} +open +json +2 `));
        assert.deepEqual((await parsed('topics')).map(({ topic }) => topic).sort(), ['fleet/a', 'fleet/b', 'other']);
        assert.equal((await parsed('topics', '--limit', '2')).length, 2);
        assert.equal((await done(broker, ['topics'])).split('\n').length, 5);
        assert.equal((await parsed('filters'))[0].name, 'fleet/#');
        assert.match(await done(broker, ['filters']), /fleet\/#\n$/);
        assert.equal((await parsed('topic', 'fleet/a'))[0].offset, 3);
        assert.match(await done(broker, ['topic', 'fleet/a']), /^topic +fleet\/a\nposition +[0-9a-f]{16}:3\n/);
        assert.match(await done(broker, ['topic', 'fleet/#']), /^topic +fleet\/#\nsubscribers +1\n/);
        assert.equal((await parsed('shards')).length, 2);
        assert.equal((await done(broker, ['shards'])).split('\n').length, 4);
        const [stat] = await parsed('stat');
        assert.deepEqual([stat.gauges.connections, stat.counters.publishes], [1, 9]);
        assert.match(await done(broker, ['stat']), /^broker +ready, up .*\nconnections +1 of /);
        assert.match(await done(broker, ['version']), /^shoal +\d.*\nshoald \d/);
        const watch = start(broker, ['stat', '--json', '--watch', '0.05']);
        for (let n = 0; n < 3; n++) assert.equal(JSON.parse(await watch.lines.take()).status, 'ready');
        watch.cut();

        assert.equal(await done(broker, ['kick', conn.id]), `kicked ${conn.id}\n`);
        assert.equal((await within('the close', client.closed)).code, 4003);
        assert.equal((await shoal(broker, ['kick', conn.id])).status, STATUS.NOT_FOUND);
    }));

test('cluster: a broker that stands alone says so', () =>
    withBroker({ shards: 1 }, async (broker) => {
        assert.match(await done(broker, ['cluster']), /stands alone/);
        assert.deepEqual(JSON.parse(await done(broker, ['cluster', '--json'])), {
            enabled: false,
            nodes: [],
            servers: [],
        });
    }));

test('drain --wait comes back when the broker has ended', async () => {
    const broker = await Broker.start({ shards: 2 });
    const client = await JsonClient.open(broker);
    assert.equal(
        await done(broker, ['drain', '--wait']),
        'draining 1 connections\nthe broker has ended\n',
    );
    assert.equal((await within('the close', client.closed)).code, 4000);
    await broker.stopped();
    broker.abandon();
});

/* A port that takes connections and never says a word. */
async function withSilence(body) {
    const server = createServer(() => {});
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
        await body(`127.0.0.1:${server.address().port}`);
    } finally {
        server.close();
        server.unref();
    }
}

test('what goes wrong has a sentence on standard error and a status of its own', () =>
    withBroker({ shards: 1, set: { 'limits.message_bytes': 1024 } }, async (broker) => {
        const nobody = { SHOAL_URL: 'ws://127.0.0.1:1', SHOAL_ADMIN: 'http://127.0.0.1:1' };
        const crossed = { SHOAL_URL: `ws://${broker.admin}`, SHOAL_ADMIN: `http://${broker.data}` };
        for (const [args, status, pattern, env] of [
            [[], STATUS.USAGE, /usage:/],
            [['nothing'], STATUS.USAGE, /there is no command nothing/],
            [['pub'], STATUS.USAGE, /usage: shoal pub/],
            [['pub', '--nothing', 'a'], STATUS.USAGE, /no option --nothing/],
            [['stat', '-jx'], STATUS.USAGE, /no option -x here/],
            [['stat', '-xj'], STATUS.USAGE, /no option -x here/],
            [['pub', '--type', 'xml', 'a', 'b'], STATUS.USAGE, /--type: 'xml'/],
            [['pub', '--type'], STATUS.USAGE, /--type needs a value/],
            [['pub', 'a//b', 'x'], STATUS.USAGE, /empty level/],
            [['pub', 'a/#', 'x'], STATUS.USAGE, /filter/],
            [['pub', '--type', 'json', 'a', '{'], STATUS.USAGE, /JSON/],
            [['pub', 'a', 'x'.repeat(2000)], STATUS.FAILED, /larger/],
            [['sub', '--from', 'yesterday', 'a'], STATUS.USAGE, /new, last or EPOCH:OFFSET/],
            [['sub', '--count', '0', 'a'], STATUS.USAGE, /--count/],
            [['stat', '--watch', 'x'], STATUS.USAGE, /--watch/],
            [['topic', 'nobody/here'], STATUS.NOT_FOUND, /Nobody publishes/],
            [['completion', 'tcsh'], STATUS.USAGE, /bash, zsh, fish/],
            [['stat', '--admin', 'ftp://x'], STATUS.USAGE, /write http:\/\/HOST:PORT/],
            [['pub', '--url', 'http://x', 'a', 'b'], STATUS.USAGE, /ws:\/\//],
            [['stat'], STATUS.UNREACHABLE, /Connection refused/, nobody],
            [['pub', 'a', 'b'], STATUS.UNREACHABLE, /./, nobody],
            [['sub', 'a'], STATUS.UNREACHABLE, /./, nobody],
            [['stat'], STATUS.UNREACHABLE, /no admin port/, crossed],
            [['pub', 'a', 'b'], STATUS.UNREACHABLE, /./, crossed],
        ]) {
            const result = await shoal(broker, args, { env });
            assert.equal(result.status, status, `shoal ${args.join(' ').slice(0, 80)}: ${result.errors}`);
            assert.match(result.errors, pattern, `shoal ${args.join(' ').slice(0, 80)}`);
            assert.equal(result.output, '', `shoal ${args.join(' ').slice(0, 80)}`);
        }
        await withSilence(async (address) => {
            const env = { SHOAL_ADMIN: `http://${address}`, SHOAL_URL: `ws://${address}` };
            assert.equal((await shoal(broker, ['stat', '--timeout', '0.2'], { env })).status, STATUS.TIMEOUT);
            assert.equal(
                (await shoal(broker, ['pub', '--timeout', '0.2', 'a', 'b'], { env })).status,
                STATUS.TIMEOUT,
            );
        });
    }));

test('tokens: needed, wrong, and not for this topic', () =>
    withBroker(
        {
            shards: 1,
            set: { 'auth.hs256_key_file': '@FOLDER@/secret', 'admin.token_file': '@FOLDER@/token' },
            files: { secret: 's'.repeat(64), token: 'correct-horse-battery' },
        },
        async (broker) => {
            const token = hs256('s'.repeat(64), mayDo({ pub: ['mine/#'] }));
            assert.equal((await shoal(broker, ['pub', 'mine/a', 'x'])).status, STATUS.FORBIDDEN);
            assert.equal((await shoal(broker, ['pub', '--token', 'x.y.z', 'mine/a', 'x'])).status, STATUS.FORBIDDEN);
            assert.equal((await shoal(broker, ['pub', '--token', token, 'other', 'x'])).status, STATUS.FORBIDDEN);
            assert.equal(
                (await shoal(broker, ['pub', 'mine/a', 'x'], { env: { SHOAL_TOKEN: token } })).status,
                STATUS.DONE,
            );
            assert.equal((await shoal(broker, ['sub', '--token', token, 'mine/a'])).status, STATUS.FORBIDDEN);
            const none = await shoal(broker, ['stat']);
            assert.equal(none.status, STATUS.FORBIDDEN);
            assert.match(none.errors, /admin-token/);
            assert.equal(
                (await shoal(broker, ['stat', '--json', '--admin-token', 'correct-horse-battery'])).status,
                STATUS.DONE,
            );
        },
    ));

test('help, completion and the man page know every command and option', async () => {
    const page = readFileSync(join(ROOT, 'docs/man/shoal.1'), 'utf8').replaceAll('\\-', '-');
    const commands = (await done(null, ['help']))
        .match(/^ {2}(\w+) +[A-Z]/gm)
        .map((line) => line.trim().split(' ')[0]);
    assert.ok(commands.length >= 13);
    const scripts = {};
    for (const shell of ['bash', 'zsh', 'fish']) scripts[shell] = await done(null, ['completion', shell]);
    for (const command of commands) {
        const help = await done(null, ['help', command]);
        assert.equal(await done(null, [command, '--help']), help);
        assert.match(help, new RegExp(`^usage: shoal ${command} `));
        assert.match(page, new RegExp(`^\\.(B|BI|BR) "?${command}( |"|$)`, 'm'), `${command} in shoal.1`);
        for (const script of Object.values(scripts)) assert.ok(script.includes(command));
        for (const option of help.match(/--[a-z-]+(?= )/g)) {
            assert.ok(page.includes(option), `${option} in shoal.1`);
            assert.ok(scripts.bash.includes(option), option);
        }
    }
    assert.equal(spawnSync('bash', ['-n'], { input: scripts.bash }).status, 0);
    const offered = (...words) => {
        const line = `COMP_WORDS=(shoal ${words.join(' ')}); COMP_CWORD=${words.length}; _shoal`;
        const input = `${scripts.bash}\n${line}; echo "\${COMPREPLY[@]}"`;
        return spawnSync('bash', [], { input, encoding: 'utf8' }).stdout.trim();
    };
    assert.equal(offered('to'), 'topics topic');
    assert.equal(offered('pub', '--typ'), '--type');
    assert.equal(offered('pub', '--type', '""'), 'text json binary');
    assert.equal(offered('pub', '--type', '='), 'text json binary');
    assert.equal(offered('pub', '--type', '=', 'js'), 'json');
    assert.equal(offered('sub', '-f', 'l'), 'last');
    assert.equal(offered('sub', '--url', '""'), '', 'anything may stand there');
});
