/*
 * broker: starts the real shoald, talks to it by its log and its signals, and does not let it go before it is clean.
 *
 *   withBroker(options, async (broker) => …)   start, test, stop; what a test should use
 *
 * The test's environment names the program and what it was built with:
 *   SHOALD           path of the program
 *   SHOAL_BACKEND    io.backend, unless the test says otherwise: io_uring or epoll (default)
 *   SHOAL_SANITIZE   sanitizers that it was built with: memory figures mean nothing then
 *
 * A broker listens on a free port of 127.0.0.1. stop() sends SIGTERM and then fails the test if the status is not 0,
 * if the last line of the log ("stopped") tells of anything left over, or if a sanitizer or an assertion has spoken.
 * Clients that were opened through the harness hang on broker.clients, and are cut off after that.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { Mailbox, PATIENCE_MS, until, within } from './wait.mjs';

export const SHOALD = process.env.SHOALD ?? 'build/release/bin/shoald';
export const BACKEND = process.env.SHOAL_BACKEND ?? 'epoll';
export const SANITIZED = Boolean(process.env.SHOAL_SANITIZE);

/* The shard counts that core scenarios are run with: alone, a pair, and more than this machine may have cores. */
export const SHARD_COUNTS = [1, 2, 5];

/* What must be 0 when nobody is connected, and again when the process ends. */
export const LEFTOVERS = ['connections', 'handshakes', 'sessions', 'subscriptions', 'cursors', 'tickets'];
export const LEFTOVERS_AT_THE_END = [...LEFTOVERS, 'chunks'];

const ALARMS = /AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|[Aa]ssertion|CHECK/;

/* The "section.key" settings under which every test runs, unless it says otherwise. */
const SETTINGS = {
    'listen.address': '127.0.0.1:0',
    'admin.address': '127.0.0.1:0',
    'io.backend': BACKEND,
    'broker.shards': 2,
    'broker.drain_s': 0,
};

/* What ctest takes for "skipped" (SKIP_RETURN_CODE). */
const SKIPPED_STATUS = 77;

const running = new Set();
process.on('exit', () => running.forEach((process) => process.kill('SIGKILL')));

/*
 * options: shards, backend; set: {"section.key": value}; config: text of a configuration file; env: more variables;
 * files: {name: text}, made in the broker's own folder, which settings call @FOLDER@; program: instead of SHOALD;
 * launcher: words of a command that becomes the program (nsenter …).
 */
export async function withBroker(options, body) {
    const broker = await Broker.start(options);
    try {
        await body(broker);
    } catch (error) {
        const explained = broker.explained(error);
        broker.abandon();
        throw explained;
    }
    await broker.stop();
}

/* Where the kernel forbids io_uring (container runtimes do), its tests are skipped. It is the broker who says so. */
async function skipWithoutIoUring() {
    const broker = await Broker.start({ backend: 'auto' });
    const unusable = broker.line('io_uring_unusable');
    broker.abandon();
    if (!unusable) return;
    console.log(`SKIPPED: ${unusable.problem}`);
    process.exit(SKIPPED_STATUS);
}

/* Runs shoald to its end: for what ends by itself. */
export async function runShoald(args, { env = {}, patience_ms = PATIENCE_MS } = {}) {
    const child = spawn(SHOALD, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    running.add(child);
    const out = { stdout: '', stderr: '' };
    child.stdout.on('data', (bytes) => {
        out.stdout += bytes;
    });
    child.stderr.on('data', (bytes) => {
        out.stderr += bytes;
    });
    const ended = new Promise((resolve, reject) => {
        child.on('error', reject);
        child.on('close', (status, signal) => resolve({ status, signal, ...out }));
    });
    try {
        return await within('shoald to end', ended, patience_ms);
    } finally {
        running.delete(child);
        child.kill('SIGKILL');
    }
}

export class Broker {
    static async start(options = {}) {
        const broker = new Broker(options);
        try {
            await broker.ready();
        } catch (error) {
            const explained = broker.explained(error);
            broker.abandon();
            if (broker.settings['io.backend'] === 'io_uring') await skipWithoutIoUring();
            throw explained;
        }
        return broker;
    }

    constructor({ shards, backend, set = {}, config, env = {}, files = {}, program = SHOALD, launcher = [] }) {
        this.folder = mkdtempSync(join(tmpdir(), 'shoal-test-'));
        this.clients = new Set();
        this.lines = []; // of the log, parsed; what is not JSON stands in `noise`
        this.noise = [];
        this.stats_lines = new Mailbox('a "stats" line after SIGUSR1');
        this.settings = { ...SETTINGS, ...set };
        if (shards !== undefined) this.settings['broker.shards'] = shards;
        if (backend !== undefined) this.settings['io.backend'] = backend;
        for (const [name, text] of Object.entries(files)) this.file(name, text);
        if (config !== undefined) this.writeConfig(config);
        this.spawn([...launcher, program], env, config !== undefined);
    }

    get configFile() {
        return join(this.folder, 'shoal.ini');
    }

    /* A file in this broker's own folder, for logs and keys; gone with it. */
    file(name, text) {
        const path = join(this.folder, name);
        if (text !== undefined) writeFileSync(path, text);
        return path;
    }

    writeConfig(text) {
        writeFileSync(this.configFile, text);
    }

    spawn([program, ...first], env, with_file) {
        const settings = Object.entries(this.settings).flatMap(([key, value]) => [
            '--set',
            `${key}=${value}`.replaceAll('@FOLDER@', this.folder),
        ]);
        const args = [...first, ...settings];
        if (with_file) args.push('--config', this.configFile);
        this.process = spawn(program, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'pipe'] });
        running.add(this.process);
        createInterface({ input: this.process.stderr }).on('line', (line) => this.heard(line));
        this.exited = new Promise((resolve, reject) => {
            this.process.on('error', reject);
            this.process.on('close', (status, signal) => {
                running.delete(this.process);
                this.stats_lines.end('the broker ended');
                resolve({ status, signal });
            });
        });
        this.exited.catch(() => {});
    }

    heard(line) {
        try {
            const parsed = JSON.parse(line);
            this.lines.push(parsed);
            if (parsed.event === 'stats') this.stats_lines.push(parsed);
        } catch {
            this.noise.push(line);
        }
    }

    async ready() {
        let ended = null;
        this.exited.then(
            (exit) => {
                ended = exit;
            },
            (error) => {
                ended = error;
            },
        );
        const ready = await until('the broker to be ready', () => {
            if (ended instanceof Error) throw ended;
            return this.line('ready') ?? (ended && { ended });
        });
        if (ready.ended) throw new Error(`the broker ended before it was ready: ${JSON.stringify(ready.ended)}`);
        this.data = ready.data;
        this.admin = ready.admin;
        this.host = ready.data.slice(0, ready.data.lastIndexOf(':'));
        this.port = Number(ready.data.slice(ready.data.lastIndexOf(':') + 1));
    }

    /* The last line of this event, undefined: none yet. */
    line(event) {
        return this.lines.findLast((line) => line.event === event);
    }

    url(path) {
        return `http://${this.data}${path}`;
    }

    wsUrl(path) {
        return `ws://${this.data}${path}`;
    }

    signal(name) {
        this.process.kill(name);
    }

    /* All counters and gauges, summed over the shards. */
    async stats() {
        this.signal('SIGUSR1');
        return this.stats_lines.take();
    }

    async untilStats(what, condition) {
        return until(what, async () => {
            const stats = await this.stats();
            if (condition(stats)) return stats;
            throw new Error(`the counters are ${JSON.stringify(stats)}`);
        });
    }

    /* All clients have left: nothing of theirs may stay behind. */
    async untilNothingIsLeft() {
        return this.untilStats('nothing to be left of the clients', (stats) =>
            LEFTOVERS.every((name) => named(stats, name) === 0),
        );
    }

    /* Resident bytes of the process. */
    resident() {
        const status = readFileSync(`/proc/${this.process.pid}/status`, 'utf8');
        return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)[1]) * 1024;
    }

    async stop() {
        try {
            this.signal('SIGTERM');
            await this.stopped();
        } catch (error) {
            throw this.explained(error);
        } finally {
            this.abandon();
        }
    }

    /* It is told to end already: waits for that, and judges it. */
    async stopped() {
        const exit = await within('the broker to stop', this.exited);
        assert.deepEqual(exit, { status: 0, signal: null }, 'the broker ends well');
        const alarms = this.noise.filter((line) => ALARMS.test(line));
        assert.deepEqual(alarms, [], 'nothing cried alarm');
        const stopped = this.line('stopped');
        assert.ok(stopped, 'it logs "stopped"');
        for (const name of LEFTOVERS_AT_THE_END) assert.equal(named(stopped, name), 0, `${name} left over`);
    }

    /* Ends everything without asking. */
    abandon() {
        this.process.kill('SIGKILL');
        for (const client of this.clients) client.cut();
        this.clients.clear();
        rmSync(this.folder, { recursive: true, force: true });
    }

    /* The error, with the end of the log. */
    explained(error) {
        const log = [...this.noise, ...this.lines.map((line) => JSON.stringify(line))].slice(-40).join('\n');
        const { exitCode, signalCode } = this.process;
        const fate = signalCode ?? (exitCode !== null ? `status ${exitCode}` : 'it lives');
        error.message += `\n--- the broker (${fate}), its log ends ---\n${log}`;
        return error;
    }
}

function named(line, name) {
    assert.equal(typeof line[name], 'number', `the log line has a field ${name}: ${JSON.stringify(line)}`);
    return line[name];
}
