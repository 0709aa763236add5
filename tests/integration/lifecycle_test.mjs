/*
 * lifecycle_test: how the broker begins, what it does on signals, how it notices the dead, and how it ends.
 */
import assert from 'node:assert/strict';
import { readFileSync, renameSync } from 'node:fs';
import { test } from 'node:test';

import { BACKEND, Broker, runShoald, withBroker } from './harness/broker.mjs';
import { EventStream, get, history, post, publish } from './harness/http.mjs';
import { Ledger } from './harness/order.mjs';
import { until, within } from './harness/wait.mjs';
import { OPCODE, Wire } from './harness/wire.mjs';
import { JsonClient, RawClient } from './harness/ws.mjs';

test('ready tells the addresses, the start tells what was built', () =>
    withBroker({ shards: 2 }, async (broker) => {
        const ready = broker.line('ready');
        assert.match(ready.data, /^127\.0\.0\.1:\d+$/);
        assert.match(ready.admin, /^127\.0\.0\.1:\d+$/);
        assert.ok(broker.port > 0);
        for (const line of broker.lines) {
            assert.match(line.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
            assert.match(line.level, /^(debug|info|warning|error)$/);
            assert.equal(typeof line.event, 'string');
        }
        const words = JSON.stringify(broker.lines);
        assert.match(words, /"version":"\d+\.\d+\.\d+/);
        assert.match(words, new RegExp(BACKEND));
    }));

test('a second broker at the same address does not start: clients would be spread over both', () =>
    withBroker({ shards: 2 }, async (broker) => {
        const { status, stderr } = await runShoald([
            ...['--set', `listen.address=127.0.0.1:${broker.port}`],
            ...['--set', 'admin.address=127.0.0.1:0'],
        ]);
        assert.equal(status, 1);
        assert.match(stderr, /another process listens at this address/);
    }));

test('SIGTERM: everybody is told to come back, and the process ends well', async () => {
    const broker = await Broker.start({ shards: 2, set: { 'broker.drain_s': 1 } });
    const clients = await Promise.all([
        ...Array.from({ length: 20 }, () => JsonClient.open(broker)),
        ...Array.from({ length: 20 }, () => RawClient.open(broker, 'a')),
    ]);
    const events = await EventStream.open(broker, 'a');
    const begin = Date.now();
    broker.signal('SIGTERM');
    const times = await Promise.all(
        clients.map(async (client) => {
            assert.equal(await client.closeCode(), 4000);
            return Date.now() - begin;
        }),
    );
    await assert.rejects(events.inbox.take(), /ended/);
    assert.ok(Math.max(...times) - Math.min(...times) > 200, `spread over the drain time, not at once: ${times}`);
    await broker.stopped();
    broker.abandon();
});

test('SIGTERM: no new connections, those that publish meanwhile are answered or refused', async () => {
    const broker = await Broker.start({ shards: 2, set: { 'broker.drain_s': 2 } });
    const clients = await Promise.all(Array.from({ length: 10 }, () => JsonClient.open(broker)));
    broker.signal('SIGTERM');
    await until('the door to be closed', async () => {
        try {
            return (await get(broker, '/v1/topics/a')).status === 503;
        } catch {
            return true;
        }
    });
    const outcomes = await Promise.allSettled(clients.map((client) => client.ask('publish', { topic: 'a', data: 1 })));
    for (const { status, value, reason } of outcomes) {
        if (status === 'rejected') assert.match(reason.message, /closed with 4000/);
        else assert.ok(value.op === 'ok' || value.code === 'draining', JSON.stringify(value));
    }
    await broker.stopped();
    broker.abandon();
});

test('SIGTERM: clients that do not read do not hold it up for long', async () => {
    const broker = await Broker.start({ shards: 2, set: { 'namespace.default.backlog_bytes': '64M' } });
    const stuck = await Wire.open(broker, '/v1/topics/stuck');
    stuck.pause();
    for (let n = 0; n < 10; n++) await publish(broker, 'stuck', 'x'.repeat(1_000_000));
    await broker.stop();
});

test('who is told to come back is told when: as many a second as limits.return_rate says', async () => {
    const set = { 'broker.drain_s': 0, 'limits.return_rate': 10 };
    const broker = await Broker.start({ shards: 1, set });
    const clients = [];
    for (let n = 0; n < 40; n++) clients.push(await JsonClient.open(broker));
    broker.signal('SIGTERM');
    const times = [];
    for (const client of clients) {
        const { code, reason } = await within('the close', client.closed);
        assert.equal(code, 4000);
        times.push(Number(/ after_ms=(\d+)$/.exec(reason)?.[1] ?? 0));
    }
    assert.ok(Math.max(...times) <= 6000, `${times}`); // a queue of four seconds: half of it, and less than all of it
    assert.ok(Math.max(...times) >= 2000, `${times}`);
    assert.ok(new Set(times).size >= 20, `${times}`);
    await broker.stopped();
    broker.abandon();
});

test('SIGINT is a SIGTERM; a second signal while draining ends it sooner or changes nothing', async () => {
    const broker = await Broker.start({ shards: 1, set: { 'broker.drain_s': 1 } });
    const client = await JsonClient.open(broker);
    broker.signal('SIGINT');
    broker.signal('SIGTERM');
    assert.equal(await client.closeCode(), 4000);
    await broker.stopped();
    broker.abandon();
});

test('SIGHUP: the configuration is read again, and a broken one changes nothing', async () => {
    const options = { shards: 2, config: '[namespace default]\nhistory_messages = 2\n' };
    await withBroker(options, async (broker) => {
        const kept = async () => (await history(broker, 'kept')).messages.length;
        for (let n = 0; n < 5; n++) await publish(broker, 'kept', n);
        assert.equal(await kept(), 2);

        broker.writeConfig('[namespace default]\nhistory_messages = 2\nhistory_massages = 9\n');
        broker.signal('SIGHUP');
        const line = await until('the error to be logged', () => broker.lines.find(({ level }) => level === 'error'));
        assert.match(JSON.stringify(line), /history_massages.*history_messages/);

        broker.writeConfig('[namespace default]\nhistory_messages = 4\n[broker]\nmesh_slots = 64\n');
        broker.signal('SIGHUP');
        await until('the new one to hold', async () => {
            await publish(broker, 'kept', 'more');
            return (await kept()) === 4;
        });
        const reloaded = await until('the reload to be logged', () => broker.line('reloaded'));
        assert.match(JSON.stringify(reloaded), /mesh_slots/, "what can't change is named");
    });
});

test('SIGHUP, many times under traffic: nothing is lost, doubled or out of order', () =>
    withBroker({ shards: 5, config: '[namespace default]\nhistory_messages = 10\n' }, async (broker) => {
        const ledger = new Ledger('reload');
        const client = await JsonClient.open(broker);
        const reader = ledger.reader((await client.subscribe('reload')).offset);
        client.onDelivery = ({ offset, data }) => reader.saw(offset, data);
        for (let round = 0; round < 20; round++) {
            broker.writeConfig(
                `[namespace default]\nhistory_messages = ${round}\n[limits]\nreply_bytes = ${64 + round}K\n`,
            );
            broker.signal('SIGHUP');
            for (let n = 0; n < 20; n++) {
                const body = ledger.next('ada');
                ledger.acknowledge(body, (await publish(broker, 'reload', body)).offset);
            }
        }
        await until('all to be seen', () => reader.count === 400);
        reader.finish();
    }));

test('SIGHUP: the log is opened again, so that it can be moved away', async () => {
    const broker = new Broker({ shards: 1, set: { 'log.file': '@FOLDER@/log' } });
    const lines = (name) => {
        try {
            return readFileSync(broker.file(name), 'utf8')
                .trim()
                .split('\n')
                .filter(Boolean)
                .map((line) => JSON.parse(line));
        } catch (error) {
            if (error.code === 'ENOENT') return [];
            throw error;
        }
    };
    const has = (name, event) => until(`${event} in ${name}`, () => lines(name).some((line) => line.event === event));
    try {
        await has('log', 'ready');
        renameSync(broker.file('log'), broker.file('log.1'));
        broker.signal('SIGHUP');
        await until('a new file', () => lines('log').length > 0);
        broker.signal('SIGTERM');
        assert.deepEqual(await within('the end', broker.exited), { status: 0, signal: null });
        await has('log', 'stopped');
        assert.ok(!lines('log.1').some((line) => line.event === 'stopped'));
        assert.deepEqual(broker.noise, []);
    } finally {
        broker.abandon();
    }
});

const IMPATIENT = { shards: 2, set: { 'heartbeat.interval_s': 1, 'heartbeat.timeout_s': 3 } };

test('heartbeats: the silent are pinged, the dead are closed with 4002, the living stay', () =>
    withBroker(IMPATIENT, async (broker) => {
        const living = await JsonClient.open(broker);
        const dead = await Wire.open(broker, '/v1/topics/a');
        const asleep = await Wire.open(broker, '/v1/topics/a');
        asleep.pause();
        const events = await EventStream.open(broker, 'a');
        assert.equal((await dead.readFrame()).opcode, OPCODE.PING);
        let close;
        do close = await dead.readFrame();
        while (close.opcode === OPCODE.PING);
        assert.equal(close.opcode, OPCODE.CLOSE);
        assert.equal(close.payload.readUInt16BE(0), 4002);
        await broker.untilStats(
            'both to be gone',
            (stats) => stats.heartbeat_timeouts === 2 && stats.connections === 2,
        );
        await until('comments in the event stream', () => events.comments >= 2);
        assert.equal((await living.ask('ping')).op, 'pong');
        await post(broker, 'a', 'still there');
        assert.equal((await events.inbox.take()).data, 'still there');
    }));

test('heartbeats: our own pings are answered at once, by frame and by op', () =>
    withBroker({ shards: 1 }, async (broker) => {
        const wire = await Wire.open(broker, '/v1/topics/a');
        await wire.sendFrame({ opcode: OPCODE.PING, payload: 'are you there?' });
        const { opcode, payload } = await wire.readFrame();
        assert.deepEqual({ opcode, text: payload.toString() }, { opcode: OPCODE.PONG, text: 'are you there?' });
        const json = await JsonClient.open(broker);
        const pong = await json.ask('ping');
        assert.equal(pong.op, 'pong');
        assert.ok(Math.abs(pong.time_ms - Date.now()) < 60_000);
    }));
