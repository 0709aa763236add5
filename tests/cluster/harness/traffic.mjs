/*
 * traffic: publishers and subscribers that work a cluster while the test hurts it, and write down what they are told.
 *
 *   const traffic = await Traffic.start(cluster, {topics: ['log/a', 'log/b']});
 *   … faults …
 *   const checked = await traffic.settled();     all faults are over: waits, and checks the whole history
 *
 * Each topic has, on each host, a publisher and a subscriber that stays there; and one subscriber that wanders: it
 * drops its connection now and then and goes on at another host, from its position. All come back by themselves. A
 * publisher repeats a message with the same idempotency key until it is acknowledged, and only then begins the next, so
 * every message that it has begun is acknowledged in the end.
 */
import assert from 'node:assert/strict';

import { breathe, pause, until, within } from '../../integration/harness/wait.mjs';
import { JsonClient } from '../../integration/harness/ws.mjs';
import { History } from './history.mjs';

const RETRY_MS = 20;
const WANDER_MS = 150;
const RECOVERY_MS = 60_000; /* within which all must be well again after the last fault */

export class Traffic {
    static async start(cluster, options) {
        const traffic = new Traffic(cluster, options);
        await traffic.begun();
        return traffic;
    }

    /* pace_ms: between two messages of a publisher. drop: a canary: this subscriber's client loses a message. */
    constructor(cluster, { topics = ['log/a', 'log/b'], pace_ms = 0, filler = '', drop = null } = {}) {
        Object.assign(this, { cluster, pace_ms, filler });
        this.failure = null;
        this.going = true;
        this.histories = new Map(topics.map((topic) => [topic, new History(topic)]));
        this.publishers = [];
        this.subscribers = [];
        for (const [topic, history] of this.histories) {
            cluster.hosts.forEach((host, index) => {
                this.publishers.push(new Publisher(this, topic, history, host, `p${index}`));
                this.subscribers.push(new Subscriber(this, topic, history, [host], `s${index}`));
            });
            this.subscribers.push(new Subscriber(this, topic, history, cluster.hosts, 'wanderer'));
        }
        if (drop !== null) this.subscribers[drop].dropping = true;
    }

    async begun() {
        for (const subscriber of this.subscribers) subscriber.run();
        await this.untilTrue('every subscriber to begin', () =>
            this.subscribers.every(({ track }) => track.epoch !== null),
        );
        for (const publisher of this.publishers) publisher.run();
        await this.more(1);
    }

    fail(error) {
        this.failure ??= error;
    }

    untilTrue(what, condition) {
        return until(
            what,
            () => {
                if (this.failure) return true;
                return condition();
            },
            RECOVERY_MS,
        ).then(() => {
            if (this.failure) throw this.failure;
        });
    }

    /* Until each publisher has had so many more messages acknowledged. */
    async more(count) {
        const wanted = this.publishers.map(({ acknowledged }) => acknowledged + count);
        await this.untilTrue(`${count} more messages of each publisher`, () =>
            this.publishers.every(({ acknowledged }, index) => acknowledged >= wanted[index]),
        );
    }

    /* Ends it. What was checked, summed over the topics. */
    async settled() {
        await this.more(5); // also at hosts that came back
        this.going = false;
        const ends = this.publishers.map(({ ended }) => within('a publisher to end', ended, RECOVERY_MS));
        await Promise.all(ends);
        const sum = { acknowledged: 0, seen: 0, gaps: 0, epochs: 0 };
        for (const [topic, history] of this.histories) {
            const last = await this.lastOf(topic, history);
            await this.untilTrue(`all to see the last message of ${topic}, ${last.epoch}:${last.offset}`, () =>
                history.tracks.every(({ epoch, offset }) => epoch === last.epoch && offset >= last.offset),
            ).catch((error) => {
                const ends = history.tracks.map((track) => track.where()).join('; ');
                throw Object.assign(error, { message: `${error.message}: ${ends}` });
            });
            const checked = history.check(last);
            for (const name of Object.keys(sum)) sum[name] += checked[name];
        }
        this.stop();
        if (this.failure) throw this.failure;
        for (const name of ['acknowledged', 'seen']) assert.ok(sum[name] > 0, `nothing was ${name}`);
        return sum;
    }

    /* A message after all faults, and its position. */
    async lastOf(topic, history) {
        const publisher = new Publisher(this, topic, history, this.cluster.hosts[0], 'last');
        const position = await publisher.publishUntilAcknowledged();
        publisher.leave();
        return position;
    }

    stop() {
        this.going = false;
        for (const actor of [...this.publishers, ...this.subscribers]) actor.leave();
    }
}

/* A client that comes back, to the next of its hosts. */
class Actor {
    constructor(traffic, topic, history, hosts, name) {
        Object.assign(this, { traffic, topic, history, hosts, name });
        this.client = null;
        this.turn = 0;
        this.left = false;
    }

    get host() {
        return this.hosts[this.turn % this.hosts.length];
    }

    async connected() {
        while (!this.left && (!this.client || this.client.inbox.ended)) {
            try {
                this.client = null;
                const client = await JsonClient.open(this.host.broker);
                if (this.left) client.cut();
                else this.client = client;
            } catch {
                this.turn++;
                await pause(RETRY_MS); // the host is down
            }
        }
        return this.client;
    }

    leave() {
        this.left = true;
        this.client?.cut();
        this.client = null;
    }

    run() {
        this.ended = this.work().catch((error) => this.left || this.traffic.fail(error));
    }
}

class Publisher extends Actor {
    constructor(traffic, topic, history, host, name) {
        super(traffic, topic, history, [host], name);
        this.sequence = 0;
        this.acknowledged = 0;
        this.refusals = new Map(); // code → count
    }

    async work() {
        while (this.traffic.going && !this.left) {
            await this.publishUntilAcknowledged();
            await (this.traffic.pace_ms ? pause(this.traffic.pace_ms) : breathe());
        }
    }

    async publishUntilAcknowledged() {
        const body = { publisher: this.name, sequence: ++this.sequence, filler: this.traffic.filler };
        const key = `${this.topic}-${body.publisher}-${body.sequence}`;
        for (;;) {
            const reply = await this.publishOnce(body, key);
            if (this.left) return null;
            if (reply?.op === 'ok') {
                this.acknowledged++;
                this.history.acknowledge(body, reply);
                return reply;
            }
            await pause(RETRY_MS);
        }
    }

    /* null: the connection broke. An error must be one that may be tried again. */
    async publishOnce(body, key) {
        const client = await this.connected();
        if (!client) return null;
        const reply = await client.ask('publish', { topic: this.topic, data: body, key }).catch((error) => {
            if (!client.inbox.ended) throw error;
            return null;
        });
        if (reply?.op === 'error') {
            assert.equal(reply.retry, true, `a publisher is refused for good: ${JSON.stringify(reply)}`);
            this.refusals.set(reply.code, (this.refusals.get(reply.code) ?? 0) + 1);
        }
        return reply;
    }
}

class Subscriber extends Actor {
    constructor(traffic, topic, history, hosts, name) {
        super(traffic, topic, history, hosts, name);
        this.track = history.track(name);
        this.dropping = false;
    }

    async work() {
        while (!this.left) {
            const client = await this.connected();
            if (client && (await this.subscribed(client))) {
                await (this.hosts.length > 1 ? this.stayAWhile(client) : client.closed);
                this.turn++;
            }
        }
    }

    /* A wanderer's. */
    async stayAWhile(client) {
        await Promise.race([client.closed, pause(WANDER_MS)]);
        client.onDelivery = () => {};
        client.cut();
        client.inbox.end('it wanders');
    }

    /* False: not now. What is delivered before the answer could be looked at waits for it. */
    async subscribed(client) {
        const early = [];
        client.onDelivery = (delivery) => early.push(delivery);
        const from = this.track.position;
        const reply = await client.ask('subscribe', { topic: this.topic, ...(from && { from }) }).catch((error) => {
            if (!client.inbox.ended) throw error;
            return null;
        });
        if (!reply || reply.op === 'error') {
            if (reply) assert.equal(reply.retry, true, `${this.track.where()} is refused: ${JSON.stringify(reply)}`);
            await pause(RETRY_MS);
            return false;
        }
        if (from) this.track.resumed(reply);
        else this.track.begins(reply);
        early.forEach((delivery) => this.take(delivery));
        client.onDelivery = (delivery) => this.take(delivery);
        return true;
    }

    take(delivery) {
        try {
            if (delivery.op === 'gap') return this.track.toldGap(delivery);
            if (this.dropping && this.track.count === 3) {
                this.dropping = false;
                return undefined;
            }
            return this.track.saw(delivery.offset, delivery.data);
        } catch (error) {
            return this.traffic.fail(error);
        }
    }
}
