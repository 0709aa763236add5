/*
 * install_test: "cmake --install", and what it leaves is used as docs/CLIENT.md and docs/OPERATIONS.md say: the ten
 * lines of C are built by pkg-config, shared and static, and publish; the manual pages and the unit are where their
 * readers look for them.
 *
 * It is installed below a folder (DESTDIR), so nothing on this host is touched. The programs find the library there.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { after, before, test } from 'node:test';

import { SHOALD, withBroker } from '../integration/harness/broker.mjs';
import { history } from '../integration/harness/http.mjs';
import { blockOf } from './documents.mjs';

const BUILD = resolve(dirname(SHOALD), '..');
const COMPILER = process.env.SHOAL_CC ?? 'cc';
const SANITIZERS = process.env.SHOAL_SANITIZE;
const PREFIX = '/usr/local';

let root;
const installed = (path) => join(root, PREFIX, path);

function run(program, words, env = {}) {
    const { status, stdout, stderr, error } = spawnSync(program, words, {
        env: { ...process.env, ...env },
        encoding: 'utf8',
    });
    assert.equal(status, 0, `${program} ${words.join(' ')}: ${error ?? stderr}`);
    return stdout.trim();
}

/* Where Debian's GNUInstallDirs puts libraries: lib, or lib/x86_64-linux-gnu. */
const libraries = () => dirname(run('find', [root, '-name', 'libshoal.so']));

before(() => {
    root = mkdtempSync(join(tmpdir(), 'shoal-install-'));
    run('cmake', ['--install', BUILD], { DESTDIR: root });
});
after(() => rmSync(root, { recursive: true, force: true }));

test('elsewhere, what names the place names that one', () => {
    const prefix = join(root, 'elsewhere');
    run('cmake', ['--install', BUILD, '--prefix', prefix]);
    const library = run('find', [prefix, '-name', 'shoal.pc']);
    assert.match(readFileSync(library, 'utf8'), new RegExp(`^prefix=${prefix}$`, 'm'));
    const unit = readFileSync(join(prefix, 'lib/systemd/system/shoald.service'), 'utf8');
    assert.match(unit, new RegExp(`^ExecStart=${prefix}/bin/shoald `, 'm'));
    rmSync(prefix, { recursive: true });
});

test('programs, manual pages and completion are there', () => {
    assert.match(run(installed('bin/shoald'), ['--version']), /^shoald \d/);
    const completions = {
        bash: 'bash-completion/completions/shoal',
        zsh: 'zsh/site-functions/_shoal',
        fish: 'fish/vendor_completions.d/shoal.fish',
    };
    for (const [shell, file] of Object.entries(completions))
        assert.equal(
            readFileSync(installed(`share/${file}`), 'utf8').trim(),
            run(installed('bin/shoal'), ['completion', shell]),
        );
    for (const page of ['man1/shoal.1', 'man8/shoald.8']) assert.ok(existsSync(installed(`share/man/${page}`)), page);
});

for (const [way, words] of [['shared', []], ['static', ['--static']]]) {
    test(`the ten lines of CLIENT.md, ${way}`, async () => {
        const source = join(root, 'hello.c');
        const program = join(root, `hello-${way}`);
        writeFileSync(source, blockOf('docs/CLIENT.md', 'c'));
        const flags = run('pkg-config', ['--cflags', '--libs', ...words, 'shoal'], {
            PKG_CONFIG_PATH: join(libraries(), 'pkgconfig'),
            PKG_CONFIG_SYSROOT_DIR: root,
        }).split(/\s+/);
        const archive = way === 'static' ? flags.map((flag) => (flag === '-lshoal' ? '-l:libshoal.a' : flag)) : flags;
        const sanitizers = SANITIZERS ? [`-fsanitize=${SANITIZERS}`] : [];
        run(COMPILER, [source, '-o', program, ...sanitizers, ...archive]);
        await withBroker({ shards: 1, set: { 'namespace.default.history_messages': 10 } }, async (broker) => {
            const env = { SHOAL_URL: `ws://${broker.data}`, LD_LIBRARY_PATH: way === 'shared' ? libraries() : '' };
            assert.equal(run(program, [], env), 'Nothing is wrong.');
            const { messages } = await history(broker, 'demo/hello');
            assert.deepEqual(messages.map(({ data }) => data), ['hello']);
        });
    });
}

test('the unit names the program, and systemd understands it', (context) => {
    const unit = readFileSync(installed('lib/systemd/system/shoald.service'), 'utf8');
    assert.match(unit, new RegExp(`^ExecStart=${PREFIX}/bin/shoald `, 'm'));
    const copy = join(root, 'shoald.service');
    writeFileSync(copy, unit.replaceAll(`${PREFIX}/bin`, installed('bin')).replace(/^Documentation=.*\n/m, ''));
    const checked = spawnSync('systemd-analyze', ['verify', '--man=no', copy], { encoding: 'utf8' });
    if (checked.error) return context.skip('systemd-analyze is not here');
    const about = checked.stderr.split('\n').filter((line) => line.includes('shoald'));
    assert.deepEqual(about, [], checked.stderr);
});
