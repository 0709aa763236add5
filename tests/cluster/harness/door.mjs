/*
 * door: a TCP forwarder between brokers and a Redis server: an address that stays while what is behind it changes, as a
 * virtual address or a balancer does in a failover; and a link that can be hurt where there are no namespaces.
 *
 *   leadTo(port)     new connections go there from now on; the present ones stay where they are
 *   cut()            ends all present connections by a RST
 *   shut(), open()   new connections are refused, or let in again
 *   stall(), flow()  bytes wait, in one direction or both, as if the other end had become silent
 */
import net from 'node:net';

export class Door {
    static async to(port) {
        const door = new Door(port);
        await new Promise((done) => door.server.listen(0, '127.0.0.1', done));
        door.port = door.server.address().port;
        return door;
    }

    constructor(target) {
        this.target = target;
        this.pairs = new Set();
        this.shutting = false;
        this.stalled = new Set(); // of 'there', 'back'
        this.server = net.createServer((inside) => this.enter(inside));
    }

    get url() {
        return `redis://127.0.0.1:${this.port}`;
    }

    enter(inside) {
        if (this.shutting) return inside.resetAndDestroy();
        const outside = net.connect(this.target, '127.0.0.1');
        const pair = { inside, outside };
        this.pairs.add(pair);
        this.forward(pair, inside, outside, 'there');
        this.forward(pair, outside, inside, 'back');
        return undefined;
    }

    forward(pair, from, to, direction) {
        from.on('data', (bytes) => {
            if (!to.write(bytes)) from.pause();
        });
        to.on('drain', () => this.stalled.has(direction) || from.resume());
        from.on('error', () => {});
        from.on('close', () => {
            to.destroy();
            this.pairs.delete(pair);
        });
        if (this.stalled.has(direction)) from.pause();
    }

    leadTo(port) {
        this.target = port;
    }

    cut() {
        for (const { inside, outside } of this.pairs) {
            inside.resetAndDestroy();
            outside.destroy();
        }
    }

    shut() {
        this.shutting = true;
        this.cut();
    }

    open() {
        this.shutting = false;
    }

    stall(...directions) {
        for (const direction of directions.length ? directions : ['there', 'back']) this.stalled.add(direction);
        for (const { inside, outside } of this.pairs) {
            if (this.stalled.has('there')) inside.pause();
            if (this.stalled.has('back')) outside.pause();
        }
    }

    flow() {
        this.stalled.clear();
        for (const { inside, outside } of this.pairs) {
            inside.resume();
            outside.resume();
        }
    }

    async end() {
        this.shut();
        await new Promise((done) => this.server.close(done));
    }
}
