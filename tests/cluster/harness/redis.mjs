/*
 * redis: a real redis-server, started by the test, and all that can befall it.
 *
 *   kill()        at once, as by a power cut: what it had not saved is gone
 *   pause()       SIGSTOP: connections stay, nothing is answered, until resume()
 *   again()       started once more, on the same port: with the last snapshot, or {empty: true}
 *   snapshot()    takes one now, which `again()` finds: whatever comes after it is lost by a kill
 *   command()     what redis-cli says, by a socket in the file system, so that no fault of the network hits it
 *
 * It keeps nothing on disk but by snapshot(), unless its options say otherwise. On 127.0.0.1, or where `launcher` puts
 * it (nsenter …) and `bind` says.
 */
import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { until, within } from '../../integration/harness/wait.mjs';

const run = promisify(execFile);
const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));

/* A port that is free now. */
export async function freePort() {
    const server = net.createServer();
    await new Promise((done) => server.listen(0, '127.0.0.1', done));
    const { port } = server.address();
    await new Promise((done) => server.close(done));
    return port;
}

export class Redis {
    static async start(options = {}) {
        const redis = new Redis({ ...options, port: options.port ?? (await freePort()) });
        await redis.again();
        return redis;
    }

    constructor({ port, bind = '127.0.0.1', launcher = [], options = {} }) {
        Object.assign(this, { port, bind, launcher, options });
        this.folder = mkdtempSync(join(tmpdir(), 'shoal-redis-'));
        this.socket = join(this.folder, 'redis.sock');
        this.process = null;
    }

    get address() {
        return `${this.bind}:${this.port}`;
    }

    get url() {
        return `redis://${this.address}`;
    }

    async again({ empty = false } = {}) {
        if (empty) rmSync(join(this.folder, 'dump.rdb'), { force: true });
        const [program, ...rest] = [...this.launcher, 'redis-server', ...this.words()];
        await this.run(program, rest);
    }

    settings() {
        return {
            port: this.port,
            bind: this.bind,
            dir: this.folder,
            unixsocket: this.socket,
            logfile: join(this.folder, 'redis.log'),
            save: '',
            appendonly: 'no',
            'protected-mode': 'no',
            'repl-diskless-sync-delay': 0,
            ...this.options,
        };
    }

    /* Of its command line. */
    words() {
        return Object.entries(this.settings()).flatMap(([key, value]) => [`--${key}`, ...[value].flat().map(String)]);
    }

    async run(program, words) {
        const child = spawn(program, words, { stdio: 'ignore' });
        running.add(child);
        this.process = child;
        this.exited = new Promise((resolve, reject) => {
            child.on('error', reject);
            child.on('close', () => {
                running.delete(child);
                resolve();
            });
        });
        this.exited.catch(() => {});
        await until('redis-server to answer', async () => {
            if (child.exitCode !== null) throw new Error(`redis-server ended: ${this.log()}`);
            return (await this.command('PING')) === 'PONG';
        });
    }

    log() {
        return readFileSync(join(this.folder, 'redis.log'), 'utf8').split('\n').slice(-20).join('\n');
    }

    async command(...words) {
        const password = this.options.requirepass;
        const env = { ...process.env, ...(password && { REDISCLI_AUTH: password }) };
        const { stdout } = await run('redis-cli', ['-s', this.socket, ...words.map(String)], { env });
        if (/^(ERR|NOAUTH|MISCONF|LOADING) /.test(stdout)) throw new Error(`${words.join(' ')}: ${stdout}`);
        return stdout.trimEnd();
    }

    /* Many commands, a line each, by one redis-cli. */
    async script(lines) {
        const child = spawn('redis-cli', ['-s', this.socket], { stdio: ['pipe', 'ignore', 'inherit'] });
        const ended = new Promise((resolve) => child.on('close', resolve));
        child.stdin.end(`${lines}\n`);
        await within('redis-cli to end', ended);
    }

    get alive() {
        return this.process?.exitCode === null && this.process.signalCode === null;
    }

    /* The fields of INFO. */
    async info(section = 'all') {
        const lines = (await this.command('INFO', section)).split(/\r?\n/).filter((line) => line.includes(':'));
        return Object.fromEntries(lines.map((line) => line.split(/:(.*)/).slice(0, 2)));
    }

    async snapshot() {
        await this.command('SAVE');
    }

    pause() {
        this.process.kill('SIGSTOP');
    }

    resume() {
        this.process.kill('SIGCONT');
    }

    async kill() {
        this.process.kill('SIGKILL');
        await within('redis-server to end', this.exited);
    }

    async end() {
        await this.kill();
        rmSync(this.folder, { recursive: true, force: true });
    }
}

/*
 * A sentinel that knows a master as "mymaster", is quick to promote a replica of it, and decides alone. Start it when
 * the replica follows, and wait with untilKnown() until it could promote it.
 */
export class Sentinel extends Redis {
    static async watch(master) {
        const sentinel = new Sentinel({ port: await freePort() });
        sentinel.master = master;
        await sentinel.again();
        return sentinel;
    }

    get url() {
        return `redis+sentinel://${this.address}/mymaster`;
    }

    /* It writes what it learns into its configuration, so that has to be a file. */
    words() {
        const file = join(this.folder, 'sentinel.conf');
        const lines = [
            `port ${this.port}`,
            `bind ${this.bind}`,
            `dir ${this.folder}`,
            `unixsocket ${this.socket}`,
            `logfile ${join(this.folder, 'redis.log')}`,
            `sentinel monitor mymaster ${this.master.bind} ${this.master.port} 1`,
            'sentinel down-after-milliseconds mymaster 500',
            'sentinel failover-timeout mymaster 3000',
        ];
        writeFileSync(file, `${lines.join('\n')}\n`);
        return [file, '--sentinel'];
    }

    untilKnown() {
        return until('the sentinel to know the replica', async () =>
            (await this.command('SENTINEL', 'REPLICAS', 'mymaster')).includes('master-link-status\nok'),
        );
    }
}
