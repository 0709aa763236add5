/*
 * proxies: nginx and HAProxy in front of a broker, with the configurations that docs/OPERATIONS.md prints: only
 * addresses, the port and the paths of the certificate are others.
 *
 * A Proxy stands for its broker in the harness's clients: url(), wsUrl(), clients, and the certificate to trust.
 */
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { until } from '../integration/harness/wait.mjs';
import { blockOf } from './documents.mjs';

const DOCUMENT = 'docs/OPERATIONS.md';

/* Each in a process group of its own: nginx has workers. */
const running = new Set();
process.on('exit', () => running.forEach((proxy) => proxy.kill()));

export const PROXIES = {
    nginx: {
        /* What Debian's nginx.conf puts around it, without root's paths. */
        configure: (text, folder) => `
            daemon off;
            pid ${folder}/pid;
            error_log stderr;
            events {}
            http {
                access_log off;
                ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
                    .map((name) => `${name}_temp_path ${folder}/${name};`)
                    .join('\n')}
                ${text}
            }`,
        command: (folder) => ['nginx', '-p', folder, '-e', 'stderr', '-c', `${folder}/configuration`],
    },
    haproxy: {
        configure: (text) => text,
        command: (folder) => ['haproxy', '-db', '-f', `${folder}/configuration`],
    },
};

async function freePort() {
    const server = net.createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address();
    await new Promise((resolve) => server.close(resolve));
    return port;
}

/* For 127.0.0.1: shoal.crt, shoal.key, and both in shoal.pem. */
function makeCertificate(folder) {
    const files = ['-keyout', join(folder, 'shoal.key'), '-out', join(folder, 'shoal.crt')];
    const subject = ['-subj', '/CN=shoal.example', '-addext', 'subjectAltName=IP:127.0.0.1'];
    const made = spawnSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', ...subject, ...files]);
    if (made.status !== 0) throw new Error(`openssl: ${made.stderr}`);
    const [certificate, key] = ['shoal.crt', 'shoal.key'].map((name) => readFileSync(join(folder, name), 'utf8'));
    writeFileSync(join(folder, 'shoal.pem'), certificate + key);
    return certificate;
}

export class Proxy {
    static async start(name, broker) {
        const proxy = new Proxy(name, broker, await freePort());
        await until(`${name} to pass on a request`, async () => {
            if (proxy.process.exitCode !== null) throw new Error(`${name} has ended: ${proxy.log}`);
            return proxy.isListening();
        });
        return proxy;
    }

    constructor(name, broker, port) {
        this.folder = mkdtempSync(join(tmpdir(), 'shoal-proxy-'));
        chmodSync(this.folder, 0o755); // root's nginx has workers that are nobody
        this.ca = makeCertificate(this.folder);
        this.address = `127.0.0.1:${port}`;
        this.clients = broker.clients;
        this.log = '';
        const { configure, command } = PROXIES[name];
        const text = blockOf(DOCUMENT, name)
            .replaceAll('127.0.0.1:7070', broker.data)
            .replaceAll('port 7071', `port ${broker.admin.slice(broker.admin.lastIndexOf(':') + 1)}`)
            .replace('listen 443', `listen ${this.address}`)
            .replace('bind :443', `bind ${this.address}`)
            .replaceAll('/etc/ssl', this.folder);
        writeFileSync(join(this.folder, 'configuration'), configure(text, this.folder));
        const [program, ...words] = command(this.folder);
        this.process = spawn(program, words, {
            env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` },
            stdio: ['ignore', 'pipe', 'pipe'],
            detached: true,
        });
        running.add(this);
        for (const stream of [this.process.stdout, this.process.stderr]) {
            stream.on('data', (bytes) => {
                this.log += bytes;
            });
        }
    }

    isListening() {
        const [host, port] = this.address.split(':');
        return new Promise((resolve) => {
            const socket = net.connect({ host, port: Number(port) });
            socket.on('error', () => resolve(false));
            socket.on('connect', () => {
                socket.destroy();
                resolve(true);
            });
        });
    }

    url(path) {
        return `https://${this.address}${path}`;
    }

    wsUrl(path) {
        return `wss://${this.address}${path}`;
    }

    kill() {
        if (this.process.exitCode === null) process.kill(-this.process.pid, 'SIGKILL');
    }

    stop() {
        running.delete(this);
        this.kill();
        rmSync(this.folder, { recursive: true, force: true });
    }
}
