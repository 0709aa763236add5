/*
 * tls_test: Redis by TLS (rediss://), against a redis-server that speaks nothing else, with certificates that openssl
 * makes for the test: an authority, a server's for 127.0.0.1, one for another name, a client's, another authority.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { until } from '../integration/harness/wait.mjs';
import { untilNotReady, withCluster } from './harness/cluster.mjs';
import { freePort } from './harness/redis.mjs';
import { Traffic } from './harness/traffic.mjs';

const run = promisify(execFile);
let folder;
const file = (name) => join(folder, name);

async function authority(name) {
    const words = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', `/CN=${name}`];
    await run('openssl', [...words, '-keyout', file(`${name}.key`), '-out', file(`${name}.crt`)]);
}

async function certificate(name, by, names) {
    writeFileSync(file(`${name}.ext`), `subjectAltName=${names}\n`);
    const request = ['req', '-newkey', 'rsa:2048', '-nodes', '-subj', `/CN=${name}`];
    await run('openssl', [...request, '-keyout', file(`${name}.key`), '-out', file(`${name}.csr`)]);
    const sign = ['x509', '-req', '-days', '2', '-in', file(`${name}.csr`), '-CA', file(`${by}.crt`)];
    const more = ['-CAkey', file(`${by}.key`), '-CAcreateserial', '-extfile', file(`${name}.ext`)];
    await run('openssl', [...sign, ...more, '-out', file(`${name}.crt`)]);
}

before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'shoal-tls-'));
    await authority('authority');
    await authority('stranger');
    await certificate('server', 'authority', 'IP:127.0.0.1');
    await certificate('elsewhere', 'authority', 'DNS:elsewhere.example,IP:127.0.0.2');
    await certificate('client', 'authority', 'DNS:client.example');
});
after(() => rmSync(folder, { recursive: true, force: true }));

/* Options of a redis-server that speaks TLS alone. */
async function server({ name = 'server', clients = 'no', more = {} } = {}) {
    const port = await freePort();
    return {
        port,
        options: {
            port: 0,
            'tls-port': port,
            'tls-cert-file': file(`${name}.crt`),
            'tls-key-file': file(`${name}.key`),
            'tls-ca-cert-file': file('authority.crt'),
            'tls-auth-clients': clients,
            ...more,
        },
    };
}

const doors = (servers) => servers.map(({ address }) => `rediss://${address}`);

test('a whole history by TLS, with messages larger than a record', async () => {
    const set = { 'cluster.tls_ca': file('authority.crt') };
    await withCluster({ redis: [await server()], doors, set }, async (cluster) => {
        const traffic = await Traffic.start(cluster, { topics: ['log/a', 'log/b'], filler: 'x'.repeat(50_000) });
        await traffic.more(30);
        await cluster.redis[0].command('CLIENT', 'KILL', 'TYPE', 'pubsub');
        await cluster.redis[0].command('CLIENT', 'KILL', 'TYPE', 'normal');
        await traffic.more(10);
        const checked = await traffic.settled();
        assert.deepEqual([checked.gaps, checked.epochs], [0, 2]);
    });
});

/* The host is not ready, for a reason that fits. */
async function refused(redis, set, reason) {
    await withCluster({ redis: [redis], hosts: 1, doors, set, wait: false }, async (cluster) => {
        await untilNotReady(cluster.hosts[0].broker, reason);
    });
}

test('a server of another authority is refused', async () =>
    refused(await server(), { 'cluster.tls_ca': file('stranger.crt') }, /TLS: .*(self.signed|unable to get).*/));

test('without an authority of ours those of the system count, and know nothing of it', async () =>
    refused(await server(), {}, /TLS: .*(self.signed|unable to get).*/));

test('a certificate for another host is refused', async () => {
    const set = { 'cluster.tls_ca': file('authority.crt') };
    await refused(await server({ name: 'elsewhere' }), set, /TLS: IP address mismatch/);
});

test('a server that speaks no TLS is no server', async () =>
    refused({}, { 'cluster.tls_ca': file('authority.crt') }, /TLS: |no connection or no answer/));

test('a server that wants a certificate is shown one', async () => {
    const redis = await server({ clients: 'yes' });
    const set = { 'cluster.tls_ca': file('authority.crt') };
    await refused(redis, set, /TLS: |subscriptions: /);
    const own = { ...set, 'cluster.tls_cert': file('client.crt'), 'cluster.tls_key': file('client.key') };
    await withCluster({ redis: [await server({ clients: 'yes' })], doors, set: own }, async (cluster) => {
        const traffic = await Traffic.start(cluster, { topics: ['log/a'] });
        await traffic.more(5);
        await traffic.settled();
    });
});

test('files that are none are told before anything runs', async () => {
    for (const [set, problem] of [
        [{ 'cluster.tls_ca': file('none') }, /cluster.tls_ca/],
        [{ 'cluster.tls_cert': file('client.crt'), 'cluster.tls_key': file('server.key') }, /cluster.tls_key/],
        [{ 'cluster.tls_cert': file('client.crt') }, /go together/],
    ])
        await assert.rejects(refused(await server(), set, /never/), (error) => {
            assert.match(`${error.message}${error.stack}`, problem);
            return true;
        });
});

test('a Redis Cluster by TLS', async () => {
    const options = {
        'tls-cluster': 'yes',
        'tls-replication': 'yes',
        'tls-cert-file': file('server.crt'),
        'tls-key-file': file('server.key'),
        'tls-ca-cert-file': file('authority.crt'),
        'tls-auth-clients': 'no',
    };
    const set = { 'cluster.tls_ca': file('authority.crt') };
    await withCluster({ sharded: { masters: 2, options, tls: true }, set }, async (cluster) => {
        const traffic = await Traffic.start(cluster, { topics: ['log/a', 'log/b', 'log/c'] });
        await traffic.more(5);
        assert.equal((await traffic.settled()).gaps, 0);
        await until('connections by TLS alone', async () => {
            const told = await Promise.all(cluster.redis.map((node) => node.command('CONFIG', 'GET', 'port')));
            return told.every((one) => one.endsWith('0'));
        });
    });
});
