/*
 * stalled: starts stalled_readers.py, which opens many subscribers that never read.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { within } from './wait.mjs';

const PROGRAM = fileURLToPath(new URL('stalled_readers.py', import.meta.url));

export class StalledReaders {
    /* dialect: raw or json. All subscriptions stand when the promise is kept. */
    static async open(broker, count, dialect, topic) {
        const readers = new StalledReaders(broker, [broker.host, broker.port, count, dialect, topic]);
        await within(`${count} stalled readers`, readers.ready, 120_000);
        return readers;
    }

    constructor(broker, args) {
        this.broker = broker;
        this.child = spawn('python3', [PROGRAM, ...args.map(String)], { stdio: ['pipe', 'pipe', 'pipe'] });
        broker.clients.add(this);
        let words = '';
        this.child.stderr.on('data', (text) => {
            words += text;
        });
        this.child.stdin.on('error', () => {});
        this.ready = new Promise((resolve, reject) => {
            this.child.on('error', reject);
            this.child.stdout.on('data', resolve);
            this.child.on('close', (status) => reject(new Error(`the stalled readers ended with ${status}: ${words}`)));
        });
        this.ready.catch(() => {});
    }

    cut() {
        this.child.kill('SIGKILL');
        this.broker.clients.delete(this);
    }
}
