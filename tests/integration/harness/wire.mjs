/*
 * wire: a client that can send any bytes, right or wrong, and shows exactly what comes back.
 *
 *   Wire          a TCP connection: send(bytes), readHttp(), upgrade(), sendFrame(), readFrame(), ended()
 *   frame()       the bytes of one WebSocket frame, with every field at the test's will
 *
 * Nothing here is clever: a frame is what RFC 6455 5.2 draws, so that what a conformance test sends can be read off
 * the test itself.
 */
import { createHash, randomBytes } from 'node:crypto';
import net from 'node:net';
import zlib from 'node:zlib';

import { PATIENCE_MS, within } from './wait.mjs';

export const OPCODE = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 };

/*
 * One frame. fin, rsv (0 to 7: RSV1 is 4), opcode, payload; mask: false sends it bare; key: 4 bytes;
 * length: what the header claims if not the payload's size; form: 7, 16 or 64 bits for it if not the shortest.
 */
export function frame({
    fin = true,
    rsv = 0,
    opcode = OPCODE.TEXT,
    payload = '',
    mask = true,
    key,
    length,
    form,
} = {}) {
    const body = Buffer.from(payload);
    const claimed = BigInt(length ?? body.length);
    form ??= claimed < 126n ? 7 : claimed < 65536n ? 16 : 64;
    const lengths = {
        7: [Number(claimed & 127n)],
        16: [126, ...bigEndian(claimed, 2)],
        64: [127, ...bigEndian(claimed, 8)],
    };
    const [first, ...more] = lengths[form];
    const head = Buffer.from([(fin ? 0x80 : 0) | (rsv << 4) | opcode, (mask ? 0x80 : 0) | first, ...more]);
    if (!mask) return Buffer.concat([head, body]);
    key ??= randomBytes(4);
    return Buffer.concat([head, key, masked(body, key)]);
}

function bigEndian(value, size) {
    return Array.from({ length: size }, (_, at) => Number((value >> BigInt(8 * (size - 1 - at))) & 255n));
}

export function masked(bytes, key) {
    const out = Buffer.from(bytes);
    for (let at = 0; at < out.length; at++) out[at] ^= key[at & 3];
    return out;
}

export const closeFrame = (code, reason = '') =>
    frame({
        opcode: OPCODE.CLOSE,
        payload: Buffer.concat([Buffer.from(bigEndian(BigInt(code), 2)), Buffer.from(reason)]),
    });

/* A message as permessage-deflate sends it (RFC 7692 7.2.1): raw deflate, synced, without 00 00 FF FF. */
export function deflated(payload, options = {}) {
    const bytes = zlib.deflateRawSync(payload, { finishFlush: zlib.constants.Z_SYNC_FLUSH, ...options });
    return bytes.subarray(0, bytes.length - 4);
}

/* And back (7.2.2). */
export function inflated(payload) {
    return zlib.inflateRawSync(Buffer.concat([payload, Buffer.from([0, 0, 0xff, 0xff])]), {
        finishFlush: zlib.constants.Z_SYNC_FLUSH,
    });
}

export const acceptOf = (key) =>
    createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');

export const newKey = () => randomBytes(16).toString('base64');

/* The header lines that a WebSocket is opened with, to be changed (undefined leaves one out). */
export function upgradeHeaders(broker, changes = {}) {
    const headers = {
        'Host': broker.data,
        'Upgrade': 'websocket',
        'Connection': 'Upgrade',
        'Sec-WebSocket-Version': '13',
        'Sec-WebSocket-Key': newKey(),
        ...changes,
    };
    return Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== undefined));
}

export function head(request_line, headers) {
    const lines = Object.entries(headers).flatMap(([name, values]) =>
        [values].flat().map((value) => `${name}: ${value}\r\n`),
    );
    return `${request_line}\r\n${lines.join('')}\r\n`;
}

export class Wire {
    static async connect(broker, options = {}) {
        const wire = new Wire(broker, options);
        await within('the connection', wire.connected);
        return wire;
    }

    /* Connects and upgrades, in one step: what most tests begin with. */
    static async open(broker, path, { headers = {}, ...options } = {}) {
        const wire = await Wire.connect(broker, options);
        const answer = await wire.upgrade(path, headers);
        if (answer.status !== 101) throw new Error(`the upgrade was answered by ${answer.status}: ${answer.text}`);
        return wire;
    }

    constructor(broker, options) {
        this.broker = broker;
        this.bytes = Buffer.alloc(0);
        this.end_reason = null;
        this.waiting = null;
        this.socket = net.connect({ host: broker.host, port: broker.port, ...options });
        this.socket.setNoDelay(true);
        broker.clients.add(this);
        this.connected = new Promise((resolve, reject) => {
            this.socket.on('connect', resolve);
            this.socket.on('error', reject);
        });
        this.connected.catch(() => {});
        this.socket.on('data', (bytes) => {
            this.bytes = Buffer.concat([this.bytes, bytes]);
            this.wake();
        });
        this.socket.on('end', () => this.over('end'));
        this.socket.on('error', (error) => this.over(error.code));
        this.socket.on('close', () => this.over('close'));
    }

    over(reason) {
        this.end_reason ??= reason;
        this.wake();
    }

    wake() {
        this.waiting?.();
        this.waiting = null;
    }

    /* What the broker may have closed in the meantime is no error of the test. */
    send(bytes) {
        return new Promise((resolve) => this.socket.write(bytes, () => resolve()));
    }

    /* As many pieces as there are bytes, each in a packet of its own as far as the kernel goes along. */
    async sendByteByByte(bytes) {
        for (const byte of Buffer.from(bytes)) await this.send(Buffer.from([byte]));
    }

    /* Waits until `find` gives something else than null out of the bytes that came. */
    async read(what, find, patience_ms = PATIENCE_MS) {
        for (;;) {
            const found = find(this.bytes);
            if (found !== null) return found;
            if (this.end_reason) {
                throw new Error(
                    `${what}: the connection ended (${this.end_reason}) with ${this.bytes.length} bytes left`,
                );
            }
            const more = new Promise((resolve) => {
                this.waiting = resolve;
            });
            await within(what, more, patience_ms);
        }
    }

    take(size) {
        const taken = this.bytes.subarray(0, size);
        this.bytes = this.bytes.subarray(size);
        return taken;
    }

    /* {status, headers, text, json}. The body by Content-Length, none for 1xx, 204 and 304, else until the end. */
    async readHttp() {
        const size = await this.read('an HTTP head', (bytes) => {
            const end = bytes.indexOf('\r\n\r\n');
            return end < 0 ? null : end + 4;
        });
        const [status_line, ...lines] = this.take(size).toString('latin1').trimEnd().split('\r\n');
        const status = Number(/^HTTP\/1\.1 (\d{3})(?: |$)/.exec(status_line)[1]);
        const headers = {};
        for (const line of lines) {
            const [, name, value] = /^([^:\s]+):[ \t]*(.*?)[ \t]*$/.exec(line);
            headers[name.toLowerCase()] = value;
        }
        const text = (await this.readBody(status, headers)).toString();
        const is_json = /^application\/json/.test(headers['content-type'] ?? '') && text !== '';
        return { status, status_line, headers, text, ...(is_json && { json: JSON.parse(text) }) };
    }

    async readBody(status, headers) {
        if (status < 200 || status === 204 || status === 304) return Buffer.alloc(0);
        if (headers['content-length'] === undefined) {
            await this.ended();
            return this.take(this.bytes.length);
        }
        const size = Number(headers['content-length']);
        await this.read('an HTTP body', (bytes) => (bytes.length >= size ? size : null));
        return this.take(size);
    }

    async upgrade(path, changes = {}) {
        const headers = upgradeHeaders(this.broker, changes);
        await this.send(head(`GET ${path} HTTP/1.1`, headers));
        const answer = await this.readHttp();
        return { ...answer, key: headers['Sec-WebSocket-Key'] };
    }

    sendFrame(fields) {
        return this.send(frame(fields));
    }

    sendText(text) {
        return this.sendFrame({ payload: text });
    }

    /* {fin, rsv, opcode, masked, payload, header_size}. */
    async readFrame(patience_ms = PATIENCE_MS) {
        return this.read(
            'a frame',
            (bytes) => {
                const header_size = headerSize(bytes);
                if (header_size === null) return null;
                const size = payloadSize(bytes);
                if (bytes.length < header_size + size) return null;
                const whole = this.take(header_size + size);
                return {
                    fin: Boolean(whole[0] & 0x80),
                    rsv: (whole[0] >> 4) & 7,
                    opcode: whole[0] & 15,
                    masked: Boolean(whole[1] & 0x80),
                    payload: Buffer.from(whole.subarray(header_size)),
                    header_size,
                };
            },
            patience_ms,
        );
    }

    /* The payload of the next frame, which is a text. */
    async readText() {
        const { opcode, payload } = await this.readFrame();
        if (opcode !== OPCODE.TEXT) throw new Error(`not a text, but opcode ${opcode}: ${payload.toString('hex')}`);
        return payload.toString();
    }

    /*
     * {code, reason} of the close frame that comes next, after which the connection must end. code is null if the frame
     * is empty. We answer it, unless we had sent ours before.
     */
    async readClose({ answer = true } = {}) {
        const { opcode, payload } = await this.readFrame();
        if (opcode !== OPCODE.CLOSE) throw new Error(`not a close frame, but opcode ${opcode}: ${payload.toString()}`);
        if (answer) await this.send(frame({ opcode: OPCODE.CLOSE, payload: payload.subarray(0, 2) }));
        await this.ended();
        if (payload.length === 0) return { code: null, reason: '' };
        return { code: payload.readUInt16BE(0), reason: payload.subarray(2).toString() };
    }

    /* Until the other side has ended the connection; gives how. */
    async ended(patience_ms = PATIENCE_MS) {
        while (!this.end_reason) {
            const more = new Promise((resolve) => {
                this.waiting = resolve;
            });
            await within('the connection to end', more, patience_ms);
        }
        return this.end_reason;
    }

    pause() {
        this.socket.pause();
    }

    /* Our half is done; we still read. */
    finish() {
        this.socket.end();
    }

    /* At once, by a FIN or, if there is something unread, a RST. */
    cut() {
        this.socket.destroy();
        this.broker.clients.delete(this);
    }

    /* At once, by a RST. */
    reset() {
        this.socket.resetAndDestroy();
        this.broker.clients.delete(this);
    }
}

function headerSize(bytes) {
    if (bytes.length < 2) return null;
    const form = bytes[1] & 127;
    const size = 2 + (form === 126 ? 2 : form === 127 ? 8 : 0) + (bytes[1] & 0x80 ? 4 : 0);
    return bytes.length < size ? null : size;
}

function payloadSize(bytes) {
    const form = bytes[1] & 127;
    if (form === 126) return bytes.readUInt16BE(2);
    if (form === 127) return Number(bytes.readBigUInt64BE(2));
    return form;
}
