/*
 * browser: headless Chromium, driven over its DevTools protocol, which is JSON over a WebSocket: little enough to need
 * no library.
 *
 *   const browser = await Browser.start();
 *   const page = await browser.open(url);
 *   await page.run('document.title')        the value of an expression, awaited if it is a promise
 *   page.complaints                         what the page threw, or logged as an error
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { until, within } from '../integration/harness/wait.mjs';
import { WebSocket } from '../integration/harness/ws.mjs';

const CHROMIUM = process.env.SHOAL_CHROMIUM ?? 'chromium';
const FLAGS = [
    '--headless=new',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-dev-shm-usage',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--no-proxy-server',
    '--remote-debugging-port=0',
];

export class Browser {
    static async start() {
        const browser = new Browser();
        try {
            await browser.connect();
        } catch (error) {
            await browser.stop();
            throw error;
        }
        return browser;
    }

    constructor() {
        this.folder = mkdtempSync(join(tmpdir(), 'shoal-browser-'));
        this.process = spawn(CHROMIUM, [...FLAGS, `--user-data-dir=${this.folder}`, 'about:blank'], {
            stdio: ['ignore', 'ignore', 'pipe'],
            env: { ...process.env, HOME: this.folder },
            detached: true, // a group of its own, with all its helpers
        });
        this.words = [];
        this.address = new Promise((resolve, reject) => {
            createInterface({ input: this.process.stderr }).on('line', (line) => {
                this.words.push(line);
                const found = /^DevTools listening on (ws:\S+)/.exec(line);
                if (found) resolve(found[1]);
            });
            this.process.on('error', reject);
            this.process.on('exit', (status) =>
                reject(new Error(`chromium ended with ${status}:\n${this.words.join('\n')}`)),
            );
        });
        this.exited = new Promise((resolve) => {
            this.process.on('exit', resolve);
            this.process.on('error', resolve);
        });
        this.last_id = 0;
        this.commands = new Map(); // id → resolve, reject
        this.pages = new Map(); // session → Page
    }

    async connect() {
        this.socket = new WebSocket(await within('chromium to start', this.address));
        this.socket.on('message', (bytes) => this.heard(JSON.parse(bytes)));
        await new Promise((resolve, reject) => {
            this.socket.on('open', resolve);
            this.socket.on('error', reject);
        });
    }

    heard({ id, method, params, result, error, sessionId }) {
        const command = this.commands.get(id);
        this.commands.delete(id);
        if (command && error) command.reject(new Error(`${command.method}: ${error.message}`));
        else if (command) command.resolve(result);
        else this.pages.get(sessionId)?.heard(method, params);
    }

    command(method, params = {}, session) {
        const id = ++this.last_id;
        const done = new Promise((resolve, reject) => this.commands.set(id, { method, resolve, reject }));
        this.socket.send(JSON.stringify({ id, method, params, ...(session && { sessionId: session }) }));
        return within(`chromium to answer ${method}`, done);
    }

    async open(url) {
        const { targetId } = await this.command('Target.createTarget', { url: 'about:blank' });
        const { sessionId } = await this.command('Target.attachToTarget', { targetId, flatten: true });
        const page = new Page(this, sessionId);
        this.pages.set(sessionId, page);
        await page.command('Runtime.enable');
        await page.command('Page.enable');
        await page.command('Page.navigate', { url });
        await until('the page to be loaded', () =>
            page.run('document.readyState === "complete" && location.protocol === "http:"'),
        );
        return page;
    }

    async stop() {
        this.socket?.terminate();
        process.kill(-this.process.pid, 'SIGKILL'); // the helpers too: they would go on writing into its folder
        await this.exited;
        rmSync(this.folder, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 });
    }
}

class Page {
    constructor(browser, session) {
        this.browser = browser;
        this.session = session;
        this.complaints = [];
    }

    heard(method, params) {
        if (method === 'Runtime.exceptionThrown')
            this.complaints.push(params.exceptionDetails.exception?.description ?? 'an exception');
        if (method === 'Runtime.consoleAPICalled' && params.type === 'error')
            this.complaints.push(JSON.stringify(params.args));
    }

    command(method, params) {
        return this.browser.command(method, params, this.session);
    }

    async run(expression) {
        const { result, exceptionDetails } = await this.command('Runtime.evaluate', {
            expression,
            awaitPromise: true,
            returnByValue: true,
        });
        if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
        return result.value;
    }
}
