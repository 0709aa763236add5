/*
 * config_test: what the command line says: mistakes are all told at once, with their place and the nearest key, before
 * anything is bound; the status tells scripts what happened.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';

import { BACKEND, runShoald, withBroker } from './harness/broker.mjs';
import { history, publish } from './harness/http.mjs';

const folder = mkdtempSync(join(tmpdir(), 'shoal-config-'));
after(() => rmSync(folder, { recursive: true }));

function file(text) {
    const path = join(folder, 'shoal.ini');
    writeFileSync(path, text);
    return path;
}

const set = (...pairs) => pairs.flatMap((pair) => ['--set', pair]);

test('all errors at once, each with file and line, and what was meant', async () => {
    const path = file(
        '[limits]\nmessage_byte = 1\ntopics = none\n[namspace x]\nprefix = a\n[listen]\naddress = here\n',
    );
    for (const more of [[], ['--check']]) {
        const { status, stdout, stderr } = await runShoald(['--config', path, ...more]);
        const words = stdout + stderr;
        assert.equal(status, 1);
        assert.match(words, /shoal\.ini:2: .*message_byte.*limits\.message_bytes/);
        assert.match(words, /shoal\.ini:3: .*none/);
        assert.match(words, /shoal\.ini:[45]: .*namspace/);
        assert.match(words, /shoal\.ini:7: .*here/);
        assert.doesNotMatch(words, /"event":"ready"/);
    }
});

test('errors of --set and of the environment name their source', async () => {
    const by_set = await runShoald(set('broker.shard=4', 'limits.topics=0', 'nonsense'));
    assert.equal(by_set.status, 1);
    assert.match(by_set.stderr, /broker\.shard\b.*broker\.shards/);
    assert.match(by_set.stderr, /limits\.topics/);
    assert.match(by_set.stderr, /section\.key=value/);
    const by_environment = await runShoald(['--check'], { env: { SHOAL_LIMITS_TOPICS: 'many' } });
    assert.equal(by_environment.status, 1);
    assert.match(by_environment.stdout + by_environment.stderr, /SHOAL_LIMITS_TOPICS/);
});

test('a file that is not there', async () => {
    const { status, stderr } = await runShoald(['--config', join(folder, 'nowhere.ini')]);
    assert.equal(status, 1);
    assert.match(stderr, /nowhere\.ini/);
});

test('--check says 0 if all is well, and binds nothing', async () => {
    const { status } = await runShoald(['--check', '--config', file('[listen]\naddress = 127.0.0.1:1\n')]);
    assert.equal(status, 0);
});

test('--print-config prints a file that reads back to the same', async () => {
    const first = await runShoald([
        '--print-config',
        ...set('limits.topics=77', 'namespace.chat.prefix=chat/', 'cluster.redis=redis://user:secret@h:1'),
    ]);
    assert.equal(first.status, 0);
    assert.match(first.stdout, /topics = 77/);
    assert.doesNotMatch(first.stdout, /secret@/);
    const values = (text) =>
        text
            .split('\n')
            .filter((line) => !line.startsWith('#'))
            .join('\n');
    const again = await runShoald(['--print-config', '--config', file(first.stdout)]);
    assert.equal(values(again.stdout), values(first.stdout));
});

test('--version and --help', async () => {
    const version = await runShoald(['--version']);
    assert.equal(version.status, 0);
    assert.match(version.stdout, /^shoald \d+\.\d+\.\d+/);
    for (const part of ['liburing', 'zlib']) assert.match(version.stdout, new RegExp(part, 'i'), part);
    const help = await runShoald(['--help']);
    assert.equal(help.status, 0);
    assert.match(help.stdout, /--config/);
});

test('a command line that is wrong: status 2', async () => {
    for (const args of [['--nonsense'], ['--config'], ['--set'], ['something']]) {
        const { status, stderr } = await runShoald(args);
        assert.equal(status, 2, args.join());
        assert.ok(stderr.length > 0);
    }
    const key = await runShoald(['--limits.topics=7']);
    assert.equal(key.status, 2);
    assert.match(key.stderr, /--set limits\.topics=7$/m);
    assert.match((await runShoald(['--limits.topics', '7'])).stderr, /--set limits\.topics=VALUE$/m);
});

test('an address that is not loopback wants a key, or the word', async () => {
    const open = set('listen.address=0.0.0.0:0', 'admin.address=127.0.0.1:0');
    const refused = await runShoald(open);
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /auth\.anonymous/);
    assert.equal((await runShoald(['--check', ...open, ...set('auth.anonymous=true')])).status, 0);
});

test('an address that is taken: said, and status 1', async () => {
    const taken = net.createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => taken.on('listening', resolve));
    const address = `127.0.0.1:${taken.address().port}`;
    const { status, stderr } = await runShoald(
        set(`listen.address=${address}`, 'admin.address=127.0.0.1:0', `io.backend=${BACKEND}`),
    );
    taken.close();
    assert.equal(status, 1);
    assert.ok(stderr.includes(address), stderr);
});

test('the sources in their order: file, environment, --set', async () => {
    const options = {
        config: '[namespace default]\nhistory_messages = 2\nhistory_bytes = 1M\n[broker]\nshards = 1\nnode = file\n',
        env: { SHOAL_NAMESPACE_DEFAULT_HISTORY_MESSAGES: '3', SHOAL_BROKER_NODE: 'environment' },
        set: { 'namespace.default.history_messages': 4 },
    };
    await withBroker(options, async (broker) => {
        for (let n = 0; n < 10; n++) await publish(broker, 'a', n);
        assert.equal((await history(broker, 'a')).messages.length, 4);
    });
});
