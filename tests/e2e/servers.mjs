/*
 * servers: what stands around the browser: a server for the page, so that its origin is another one than the broker's,
 * and a wire that can be cut, between the browser and the broker.
 */
import { readFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';

const PAGE = readFileSync(new URL('page.html', import.meta.url));

async function listening(server) {
    server.listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    return `127.0.0.1:${server.address().port}`;
}

export async function servePage() {
    const server = http.createServer((request, response) => {
        const found = request.url.startsWith('/page.html');
        response.writeHead(found ? 200 : 404, { 'content-type': 'text/html; charset=utf-8' });
        response.end(found ? PAGE : '');
    });
    const address = await listening(server);
    return {
        url: (parameters) => `http://${address}/page.html?${new URLSearchParams(parameters)}`,
        stop: () => {
            server.close();
            server.closeAllConnections();
        },
    };
}

/* Passes bytes to the broker, until cut() ends all connections at once. The next ones are passed again. */
export class CuttableWire {
    static async to(broker) {
        const wire = new CuttableWire(broker);
        wire.address = await listening(wire.server);
        return wire;
    }

    constructor(broker) {
        this.pairs = new Set();
        this.server = net.createServer((client) => {
            const upstream = net.connect({ host: broker.host, port: broker.port });
            const pair = [client, upstream];
            this.pairs.add(pair);
            for (const [one, other] of [pair, [upstream, client]]) {
                one.on('data', (bytes) => other.write(bytes));
                one.on('end', () => other.end());
                one.on('error', () => this.cutPair(pair));
                one.on('close', () => this.cutPair(pair));
            }
        });
    }

    cutPair(pair) {
        pair.forEach((socket) => socket.destroy());
        this.pairs.delete(pair);
    }

    cut() {
        const count = this.pairs.size;
        for (const pair of this.pairs) this.cutPair(pair);
        return count;
    }

    stop() {
        this.server.close();
        this.cut();
    }
}
