/*
 * readme_test: does what README.md says, as a person would who has just cloned Shoal: reads it from top to bottom,
 * types each block exactly as it is printed, and compares what comes with what is printed below.
 *
 * What is done with a block is said by the words behind its language, which no reader of the page sees:
 *
 *   sh serve       a terminal of its own, until the next of its kind: ./dev run. The page is opened in Chromium, and
 *                  its button "Publish" is pressed once
 *   sh follow      a terminal of its own, left running; goes on when its subscription to demo/hello stands
 *   sh             runs to its end, with status 0
 *   c FILE         is saved as FILE
 *   js             typed into the page's console
 *   js follow      the same, until its subscription to demo/hello stands
 *   text printed   what the last sh before has printed
 *   text followed  all that the last sh follow before has printed by now
 *   text logged    what the console has shown so far, in any order
 *
 * A block with other words fails, so that nothing is printed there that nobody runs (what has no language is a
 * drawing). In text, epochs and times stand for others like them, and … for anything. All but the build is real: the
 * folder has the repository's own dev, the headers, and the programs of this build where a release build would have
 * them. It is skipped (77) where the ports that the README names are taken.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { after, before, test } from 'node:test';

import { BACKEND, SHOALD } from '../integration/harness/broker.mjs';
import { until, within } from '../integration/harness/wait.mjs';
import { Browser } from './browser.mjs';
import { blocksOf, REPOSITORY } from './documents.mjs';

const BUILD = resolve(dirname(SHOALD), '..');
const PORTS = [7070, 7071, 7079, 7080, 7081];
const PAGE = 'http://127.0.0.1:7071/';
const TOPIC = 'demo/hello';
const PRESS_PUBLISH = `[...document.querySelectorAll('button')].find((at) => at.textContent === 'Publish').click()`;
const LISTEN_TO_CONSOLE =
    'globalThis.logged ??= ((lines) => ((console.log = (...words) => lines.push(words.join(" "))), lines))([]);';
const SANITIZERS = process.env.SHOAL_SANITIZE;
const COMPILER = process.env.SHOAL_CC ?? 'cc';
const SKIPPED_STATUS = 77;

const terminals = new Set();
process.on('exit', () => terminals.forEach((terminal) => terminal.signal('SIGKILL')));

/* ---- the README ---- */

/* What a text of the README allows: epochs, times and … are others each time. */
function patternOf(text) {
    const literal = text.trimEnd().replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
    const allowed = literal.replace(/\b[0-9a-f]{16}\b/g, '[0-9a-f]{16}').replace(/\b\d{13}\b/g, '\\d{13}');
    return new RegExp(`^${allowed.replaceAll('…', '[^]*')}$`);
}

/* ---- the clone ---- */

/* A folder like a clone with a release build in it, where cmake has nothing to do. */
function makeClone() {
    const clone = mkdtempSync(join(tmpdir(), 'shoal-readme-'));
    mkdirSync(join(clone, 'build/release'), { recursive: true });
    mkdirSync(join(clone, 'shims'));
    for (const name of ['dev', 'client']) symlinkSync(join(REPOSITORY, name), join(clone, name));
    for (const name of ['bin', 'lib']) symlinkSync(join(BUILD, name), join(clone, 'build/release', name));
    shim(clone, 'cmake', 'exit 0');
    if (SANITIZERS) shim(clone, 'cc', `exec ${COMPILER} -fsanitize=${SANITIZERS} "$@"`);
    return clone;
}

function shim(clone, name, command) {
    const path = join(clone, 'shims', name);
    writeFileSync(path, `#!/bin/sh\n${command}\n`);
    chmodSync(path, 0o755);
}

/* One command line in a process group of its own, as a terminal has. */
class Terminal {
    constructor(clone, text) {
        this.out = '';
        this.errors = '';
        this.process = spawn('bash', ['-c', text], {
            cwd: clone,
            detached: true,
            env: {
                ...process.env,
                PATH: `${join(clone, 'shims')}:${process.env.PATH}`,
                SHOAL_IO_BACKEND: BACKEND === 'io_uring' ? 'auto' : BACKEND,
            },
            stdio: ['ignore', 'pipe', 'pipe'],
        });
        terminals.add(this);
        this.process.stdout.on('data', (bytes) => {
            this.out += bytes;
        });
        this.process.stderr.on('data', (bytes) => {
            this.errors += bytes;
        });
        this.ended = new Promise((done) => {
            this.process.on('close', (status, signal) => {
                terminals.delete(this);
                done({ status, signal });
            });
        });
    }

    signal(name) {
        try {
            process.kill(-this.process.pid, name);
        } catch (error) {
            if (error.code !== 'ESRCH') throw error;
        }
    }

    /* Ctrl-C. */
    async interrupt() {
        this.signal('SIGINT');
        return within('Ctrl-C to end it', this.ended);
    }
}

/* ---- the reader ---- */

class Reader {
    constructor(clone, browser) {
        this.clone = clone;
        this.browser = browser;
        this.broker = null;
        this.page = null;
        this.followers = [];
        this.printed = null;
        this.console = [];
    }

    async take({ language, words, text }) {
        if (language === 'c') return writeFileSync(join(this.clone, words), text);
        const step = {
            'sh serve': this.serve,
            'sh follow': this.follow,
            'sh ': this.run,
            'js ': this.type,
            'js follow': this.typeFollow,
            'text printed': this.comparePrinted,
            'text followed': this.compareFollowed,
            'text logged': this.compareLogged,
        }[`${language} ${words}`];
        assert.ok(step, `nobody would run it: say what \`\`\`${language} ${words} is`);
        return step.call(this, text);
    }

    async serve(text) {
        await this.leave();
        this.broker = new Terminal(this.clone, text);
        await until('dev run to serve', () => {
            assert.equal(this.broker.process.exitCode, null, this.broker.errors + this.broker.out);
            return this.broker.out.includes(PAGE) && /^data: \{"tick":\d+/m.test(this.broker.out);
        });
        this.page = await this.browser.open(PAGE);
        await until('the ticker to be seen in the page', async () => (await this.shown('demo/ticker')).length > 0);
        await this.page.run(PRESS_PUBLISH);
        await until('its own message to be seen in the page', async () => (await this.shown(TOPIC)).length === 1);
    }

    /* Offsets of a topic's messages as the page shows them, oldest first. */
    shown(topic) {
        return this.page.run(`[...document.querySelectorAll('#messages li[data-place]')].reverse()
            .filter((row) => row.querySelector('.topic').textContent === ${JSON.stringify(topic)})
            .map((row) => Number(row.querySelector('.offset').textContent))`);
    }

    /* The topic, as the admin port tells it. */
    async topic() {
        return (await fetch(`${PAGE}v1/topics/${TOPIC}`)).json();
    }

    /* Lets `begin` subscribe, and comes back when that stands. */
    async untilFollowed(begin) {
        const sum = (feeds, field) => feeds.reduce((total, feed) => total + feed[field], 0);
        const before = sum((await this.topic()).feeds, 'subscribers');
        await begin();
        await until('the subscription to stand', async () => {
            const { feeds } = await this.topic();
            return sum(feeds, 'subscribers') === before + 1 && sum(feeds, 'waiting') === 0;
        });
    }

    follow(text) {
        return this.untilFollowed(() => this.followers.push(new Terminal(this.clone, text)));
    }

    async run(text) {
        const terminal = new Terminal(this.clone, text);
        const { status } = await within('it to end', terminal.ended);
        assert.equal(status, 0, terminal.errors);
        this.printed = terminal.out;
    }

    type(text) {
        return this.page.run(`${LISTEN_TO_CONSOLE}\n${text}`);
    }

    typeFollow(text) {
        return this.untilFollowed(() => this.type(text));
    }

    comparePrinted(text) {
        assert.match(this.printed.trimEnd(), patternOf(text));
    }

    async compareFollowed(text) {
        const follower = this.followers.at(-1);
        await until(`it to show\n${text}`, () => {
            assert.match(follower.out.trimEnd(), patternOf(text));
            return true;
        });
    }

    async compareLogged(text) {
        await until(`the console to show\n${text}`, async () => {
            const lines = await this.page.run('logged');
            const patterns = text.trimEnd().split('\n').map(patternOf);
            const missing = patterns.filter((pattern) => !lines.some((line) => pattern.test(line)));
            assert.deepEqual([missing, lines.length], [[], patterns.length], lines.join('\n'));
            return true;
        });
    }

    /* Everybody has seen the same; then Ctrl-C everywhere. */
    async leave() {
        if (!this.broker) return;
        const { offset } = await this.topic();
        await until(`the page to show ${offset}`, async () => (await this.shown(TOPIC)).length === offset);
        const all = Array.from({ length: offset }, (_, index) => index + 1);
        assert.deepEqual(await this.shown(TOPIC), all, 'the page shows all that was published, in order');
        await this.page.command('Page.close');
        for (const follower of this.followers) await follower.interrupt();
        this.followers = [];
        const { status } = await this.broker.interrupt();
        assert.equal(status, 130, this.broker.errors);
        assert.match(this.broker.out, /== stopped\n$/);
        const log = readFileSync(join(this.clone, 'build/logs/shoald.log'), 'utf8');
        assert.match(log, /"event":"stopped"/);
        assert.doesNotMatch(log, /Sanitizer|CHECK|runtime error/);
        this.broker = null;
    }
}

/* ---- the test ---- */

async function isFree(port) {
    const server = net.createServer();
    const free = new Promise((done) => {
        server.on('error', () => done(false));
        server.listen(port, '127.0.0.1', () => server.close(() => done(true)));
    });
    return free;
}

let browser;
let clone;
before(async () => {
    for (const port of PORTS) {
        if (await isFree(port)) continue;
        console.log(`SKIPPED: port ${port} is taken`);
        process.exit(SKIPPED_STATUS);
    }
    clone = makeClone();
    browser = await Browser.start();
});
after(async () => {
    await browser?.stop();
    terminals.forEach((terminal) => terminal.signal('SIGKILL'));
    if (clone) rmSync(clone, { recursive: true, force: true });
});

test('README.md, typed as it is printed', async () => {
    const readme = readFileSync(join(REPOSITORY, 'README.md'), 'utf8');
    const reader = new Reader(clone, browser);
    assert.ok(readme.includes(`<${PAGE}>`), 'it names the page');
    for (const block of blocksOf('README.md').filter(({ language }) => language)) {
        try {
            await reader.take(block);
        } catch (error) {
            error.message = `README.md:${block.line}: ${error.message}`;
            throw error;
        }
    }
    await reader.leave();
});

test('what nobody would run is not passed over', async () => {
    const reader = new Reader(clone, browser);
    for (const [language, words] of [['sh', 'folow'], ['js', 'console'], ['text', ''], ['json', '']]) {
        await assert.rejects(reader.take({ language, words, text: '' }), /nobody would run it/);
    }
});

test('a text stands for others like it, and for no more', () => {
    const pattern = patternOf('{"epoch":"1a1fc7d41f399781","offset":2,"time_ms":1795237429747}\nshard …\nend\n');
    assert.match('{"epoch":"ffffffffffffffff","offset":2,"time_ms":1000000000000}\nshard 7, x\nend', pattern);
    assert.doesNotMatch('{"epoch":"ffffffffffffffff","offset":3,"time_ms":1000000000000}\nshard 7\nend', pattern);
    assert.doesNotMatch('{"epoch":"ffffffffffffffff","offset":2,"time_ms":1000000000000}\nshard 7\nendless', pattern);
});
