/*
 * ws: the clients over WebSocket, by the npm package of that name, a peer that others wrote.
 *
 *   JsonClient   speaks shoal.v1.json on /v1/ws: requests with replies, and what is delivered in a mailbox
 *   RawClient    a topic URL: payloads in, payloads out
 *
 * Both promise `closed` ({code, reason}) and have cut(), which drops the connection without a word.
 */
import { createRequire } from 'node:module';

import { Mailbox, within } from './wait.mjs';

export const WebSocket = loadWebSocket();

function loadWebSocket() {
    try {
        return createRequire(import.meta.url)('ws').WebSocket;
    } catch {
        console.error('The package ws is not here: run "npm ci" in tests/integration ("./dev test" does that).');
        process.exit(1);
    }
}

export const JSON_SUBPROTOCOL = 'shoal.v1.json';

/* The rest of a URL for these parameters. */
export function query(parameters = {}) {
    const text = new URLSearchParams(parameters).toString();
    return text && `?${text}`;
}

export const topicPath = (topic) => `/v1/topics/${topic.split('/').map(encodeURIComponent).join('/')}`;

class Client {
    constructor(broker, path, { subprotocols = [], headers = {}, deflate = false, ...rest } = {}) {
        this.broker = broker;
        this.upgrade_headers = {};
        this.socket = new WebSocket(broker.wsUrl(path), subprotocols, {
            headers,
            perMessageDeflate: deflate,
            ca: broker.ca,
            ...rest,
        });
        broker.clients.add(this);
        this.opened = new Promise((resolve, reject) => {
            this.socket.on('open', resolve);
            this.socket.on('error', (error) => reject(error));
            this.socket.on('unexpected-response', (request, response) => {
                request.destroy();
                reject(new Refused(response));
            });
            this.socket.on('close', (code) => reject(new Error(`closed with ${code} before it was open`)));
        });
        this.opened.catch(() => {});
        this.socket.on('upgrade', (response) => {
            this.upgrade_headers = response.headers;
        });
        this.closed = new Promise((resolve) => {
            this.socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() }));
        });
    }

    /* The code with which it is closed. */
    async closeCode() {
        return (await within(`the connection to be closed`, this.closed)).code;
    }

    async close(code = 1000) {
        this.socket.close(code);
        const { code: echoed } = await within('the closing handshake', this.closed);
        this.broker.clients.delete(this);
        return echoed;
    }

    cut() {
        this.socket.terminate();
        this.broker.clients.delete(this);
    }

    /* Stops taking what comes, as a client that hangs. */
    pause() {
        this.socket._socket.pause();
    }

    resume() {
        this.socket._socket.resume();
    }
}

/* The upgrade was answered by something else than 101. */
class Refused extends Error {
    constructor(response) {
        super(`the upgrade was answered by ${response.statusCode}`);
        this.status = response.statusCode;
        this.headers = response.headers;
    }
}

export class JsonClient extends Client {
    static async open(broker, { path = '/v1/ws', ...options } = {}) {
        const client = new JsonClient(broker, path, options);
        await within('the WebSocket to open', client.opened);
        client.hello = await client.strays.take();
        return client;
    }

    constructor(broker, path, options) {
        super(broker, path, options);
        this.last_id = 0;
        this.requests = new Map(); // id → resolve, reject
        this.inbox = new Mailbox('a message or gap'); // what is delivered
        this.strays = new Mailbox('something that is no answer'); // hello, and replies without an id of ours
        this.socket.on('message', (bytes, binary) => this.heard(bytes, binary));
        this.closed.then(({ code }) => this.ended(`closed with ${code}`));
    }

    heard(bytes, binary) {
        const reply = binary ? { op: 'BINARY', bytes } : JSON.parse(bytes.toString());
        const request = this.requests.get(reply.id);
        if (request) {
            this.requests.delete(reply.id);
            request.resolve(reply);
        } else if (reply.op === 'message' || reply.op === 'gap') {
            this.onDelivery?.(reply);
            if (!this.onDelivery) this.inbox.push(reply);
        } else {
            this.strays.push(reply);
        }
    }

    ended(reason) {
        this.inbox.end(reason);
        this.strays.end(reason);
        for (const { reject } of this.requests.values()) reject(new Error(`unanswered: ${reason}`));
        this.requests.clear();
    }

    /** What is sent in this function goes out in one write, so that no answer comes between. */
    atOnce(send) {
        this.socket._socket.cork();
        const sent = send();
        this.socket._socket.uncork();
        return sent;
    }

    send(text) {
        this.socket.send(typeof text === 'string' ? text : JSON.stringify(text));
    }

    /* The reply, whatever it is. */
    ask(op, fields = {}) {
        if (this.inbox.ended) throw new Error(`${op} can't be asked: ${this.inbox.ended}`);
        const id = ++this.last_id;
        const reply = new Promise((resolve, reject) => this.requests.set(id, { resolve, reject }));
        this.send({ op, id, ...fields });
        return within(`the reply to ${op} ${JSON.stringify(fields).slice(0, 80)}`, reply);
    }

    /* The reply, which is not an error. */
    async request(op, fields) {
        const reply = await this.ask(op, fields);
        if (reply.op === 'error') throw new Error(`${op} ${JSON.stringify(fields).slice(0, 80)}: ${reply.code}`);
        return reply;
    }

    /* The code of the error that this gives. */
    async refusal(op, fields) {
        const reply = await this.ask(op, fields);
        return reply.op === 'error' ? reply.code : `not refused: ${JSON.stringify(reply)}`;
    }

    subscribe(topic, from) {
        return this.request('subscribe', { topic, ...(from !== undefined && { from }) });
    }

    unsubscribe(topic) {
        return this.request('unsubscribe', { topic });
    }

    publish(topic, data, more = {}) {
        return this.request('publish', { topic, data, ...more });
    }
}

export class RawClient extends Client {
    static async open(broker, topic, parameters = {}, options = {}) {
        const client = new RawClient(broker, topic, parameters, options);
        await within('the WebSocket to open', client.opened);
        return client;
    }

    constructor(broker, topic, parameters, options) {
        super(broker, topicPath(topic) + query(parameters), options);
        this.inbox = new Mailbox(`a message of ${topic}`);
        this.socket.on('message', (bytes, binary) => this.heard(binary ? bytes : bytes.toString()));
        this.closed.then(({ code }) => this.inbox.end(`closed with ${code}`));
    }

    heard(payload) {
        if (this.onDelivery) this.onDelivery(payload);
        else this.inbox.push(payload);
    }

    get position() {
        return { epoch: this.upgrade_headers['shoal-epoch'], offset: Number(this.upgrade_headers['shoal-offset']) };
    }

    send(payload) {
        this.socket.send(payload);
    }
}
