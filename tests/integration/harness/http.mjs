/*
 * http: the clients over plain HTTP: one request at a time, server-sent events, and curl.
 *
 * Every request has a connection of its own unless an agent is given, so that tests can count connections. What stands
 * in front of a broker and speaks TLS has a certificate in its `ca`.
 */
import { spawn } from 'node:child_process';
import http from 'node:http';
import https from 'node:https';

import { Mailbox, within } from './wait.mjs';
import { query, topicPath } from './ws.mjs';

const speaker = (broker) => (broker.ca ? https : http);

/* {status, headers, text, json}: json is undefined if the body is none. */
export function request(broker, method, path, { headers = {}, body, agent = false } = {}) {
    const answer = new Promise((resolve, reject) => {
        const options = { method, headers, agent, ca: broker.ca };
        const sent = speaker(broker).request(broker.url(path), options, (response) => {
            const parts = [];
            response.on('data', (part) => parts.push(part));
            response.on('end', () => resolve(answerOf(response, Buffer.concat(parts))));
            response.on('error', reject);
        });
        sent.on('error', reject);
        sent.end(body);
    });
    return within(`the answer to ${method} ${path}`, answer);
}

function answerOf(response, bytes) {
    const answer = { status: response.statusCode, headers: response.headers, bytes, text: bytes.toString() };
    if (/^application\/json/.test(response.headers['content-type'] ?? '')) answer.json = JSON.parse(answer.text);
    return answer;
}

export function get(broker, path, options) {
    return request(broker, 'GET', path, options);
}

/* Publishes by POST; the whole answer. */
export function post(broker, topic, body, headers = {}, more = {}) {
    return request(broker, 'POST', topicPath(topic) + query(more.query), { headers, body, agent: more.agent });
}

/* Publishes a JSON value by POST: {epoch, offset}. */
export async function publish(broker, topic, value, more) {
    const headers = { 'content-type': 'application/json' };
    const answer = await post(broker, topic, JSON.stringify(value), headers, more);
    if (answer.status !== 200) throw new Error(`POST to ${topic}: ${answer.status} ${answer.text}`);
    return answer.json;
}

export async function history(broker, topic, parameters) {
    const answer = await get(broker, topicPath(topic) + query(parameters));
    if (answer.status !== 200) throw new Error(`GET of ${topic}: ${answer.status} ${answer.text}`);
    return answer.json;
}

/*
 * Parses an event stream as the HTML standard says (9.2.6), except that it also keeps comments and the id of each
 * event: {event, id, data} and {comment}.
 */
export class EventParser {
    constructor(give) {
        this.give = give;
        this.text = '';
        this.clear();
    }

    clear() {
        this.event = { event: 'message', data: [] };
    }

    feed(text) {
        const lines = (this.text + text).split('\n');
        this.text = lines.pop();
        for (const line of lines) this.line(line);
    }

    line(line) {
        if (line === '') {
            if (this.event.data.length) this.give({ ...this.event, data: this.event.data.join('\n') });
            this.clear();
            return;
        }
        const colon = line.indexOf(':');
        const field = colon < 0 ? line : line.slice(0, colon);
        const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
        if (colon === 0) this.give({ comment: value });
        else if (field === 'data') this.event.data.push(value);
        else if (field === 'event') this.event.event = value;
        else if (field === 'id') this.event.id = value;
        else throw new Error(`a line of no known field in an event stream: ${JSON.stringify(line)}`);
    }
}

/* Server-sent events of a topic: `inbox` has the events, `opened` was the first, `comments` counts heartbeats. */
export class EventStream {
    static async open(broker, topic, parameters = {}, headers = {}) {
        const stream = new EventStream(broker, topic, parameters, headers);
        stream.response = await within(`the head of the events of ${topic}`, stream.responded);
        if (stream.response.statusCode === 200) stream.opened = await stream.inbox.take();
        return stream;
    }

    constructor(broker, topic, parameters, headers) {
        this.broker = broker;
        this.inbox = new Mailbox(`an event of ${topic}`);
        this.comments = 0;
        broker.clients.add(this);
        const url = broker.url(topicPath(topic) + query(parameters));
        this.responded = new Promise((resolve, reject) => {
            this.request = speaker(broker).get(
                url,
                { agent: false, ca: broker.ca, headers: { accept: 'text/event-stream', ...headers } },
                resolve,
            );
            this.request.on('error', (error) => {
                this.inbox.end(error.message);
                reject(error);
            });
        });
        this.responded.then(
            (response) => this.read(response),
            () => {},
        );
    }

    read(response) {
        const parser = new EventParser((event) => this.heard(event));
        response.setEncoding('utf8');
        response.on('data', (text) => parser.feed(text));
        response.on('close', () => this.inbox.end('the stream ended'));
        response.on('error', () => {});
    }

    heard(event) {
        if (event.comment !== undefined) this.comments++;
        else if (this.onDelivery) this.onDelivery(event);
        else this.inbox.push(event);
    }

    cut() {
        this.request.destroy();
        this.broker.clients.delete(this);
    }
}

/* "EPOCH:OFFSET" of an event. */
export function positionOf(id) {
    const [epoch, offset] = id.split(':');
    return { epoch, offset: Number(offset) };
}

/* curl, as somebody at a terminal has it. `lines` gets what it writes, `done` its {status, stdout, stderr}. */
export class Curl {
    constructor(broker, args) {
        this.lines = new Mailbox(`a line of curl ${args.join(' ')}`);
        this.child = spawn('curl', ['-sS', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
        this.broker = broker;
        broker.clients.add(this);
        const out = { stdout: '', stderr: '' };
        let rest = '';
        this.child.stdout.on('data', (bytes) => {
            out.stdout += bytes;
            const lines = (rest + bytes).split('\n');
            rest = lines.pop();
            lines.forEach((line) => this.lines.push(line));
        });
        this.child.stderr.on('data', (bytes) => {
            out.stderr += bytes;
        });
        this.done = new Promise((resolve, reject) => {
            this.child.on('error', reject);
            this.child.on('close', (status) => {
                this.lines.end('curl ended');
                resolve({ status, ...out });
            });
        });
    }

    static async run(broker, args) {
        return within(`curl ${args.join(' ')}`, new Curl(broker, args).done);
    }

    cut() {
        this.child.kill('SIGKILL');
        this.broker.clients.delete(this);
    }
}
