/*
 * redis_cluster: a real Redis Cluster on 127.0.0.1, made by the test of redis-server processes, and what befalls it.
 *
 *   masters, replicas    Redis (redis.mjs), replicas[i] follows masters[i]; none by default
 *   url                  of two of its nodes: the others have to be found
 *   ownerOf(slot)        the node that says that it has the slot now
 *   moveSlot(slot, to)   as redis-cli does it: import, migrate, the keys batch by batch, then the new owner; open_ms: a
 *                        pause when one of the keys has gone
 *   moveAll(from, to)    all slots of a master
 *   failover(replica)    on request, the master lives on as a replica
 *
 * A master that is dead is noticed after NODE_TIMEOUT_MS, and a replica of it is promoted by itself.
 */
import { pause, until } from '../../integration/harness/wait.mjs';
import { freePort, Redis } from './redis.mjs';

const SLOTS = 16384;
const NODE_TIMEOUT_MS = 1000;

export class RedisCluster {
    static async start(options = {}) {
        const cluster = new RedisCluster();
        try {
            await cluster.begin(options);
        } catch (error) {
            await cluster.end();
            throw error;
        }
        return cluster;
    }

    constructor() {
        this.masters = [];
        this.replicas = [];
    }

    get nodes() {
        return [...this.masters, ...this.replicas];
    }

    get url() {
        const [first, second = first] = this.nodes;
        return `${this.tls ? 'rediss' : 'redis'}+cluster://${first.address},${second.address}`;
    }

    /* tls: they speak nothing else, with what the options say. */
    async begin({ masters = 3, replicas = false, options = {}, tls = false }) {
        this.tls = tls;
        for (let i = 0; i < masters; i++) this.masters.push(await this.node(options));
        for (let i = 0; replicas && i < masters; i++) this.replicas.push(await this.node(options));
        const [first] = this.masters;
        for (const node of this.nodes)
            if (node !== first)
                await node.command('CLUSTER', 'MEET', first.bind, first.port, first.options['cluster-port']);
        for (const [i, master] of this.masters.entries()) {
            const [begin, end] = [i, i + 1].map((part) => Math.floor((SLOTS * part) / masters));
            await master.command('CLUSTER', 'ADDSLOTSRANGE', begin, end - 1);
        }
        await this.untilKnown();
        for (const [i, replica] of this.replicas.entries())
            await replica.command('CLUSTER', 'REPLICATE', await this.masters[i].command('CLUSTER', 'MYID'));
        await this.untilFollowed();
    }

    async node(options) {
        const port = await freePort();
        return Redis.start({
            port,
            options: {
                ...(this.tls && { port: 0, 'tls-port': port }),
                'cluster-enabled': 'yes',
                'cluster-config-file': 'nodes.conf',
                'cluster-node-timeout': NODE_TIMEOUT_MS,
                'cluster-port': await freePort(),
                ...options,
            },
        });
    }

    untilKnown() {
        return until('the nodes of the Redis Cluster to know each other', async () => {
            for (const node of this.nodes) {
                const info = await node.command('CLUSTER', 'INFO');
                if (!/cluster_state:ok/.test(info) || !info.includes(`cluster_known_nodes:${this.nodes.length}`))
                    throw new Error(info);
            }
            return true;
        });
    }

    untilFollowed() {
        return until('replicas to follow their masters', async () => {
            for (const replica of this.replicas)
                if (!/master_link_status:up/.test(await replica.command('INFO', 'replication'))) return false;
            const known = await this.masters[0].command('CLUSTER', 'SLOTS');
            return this.replicas.every(({ port }) => known.includes(String(port)));
        });
    }

    /* All nodes live, each says that the cluster is well, and every replica follows its master, whoever that is now. */
    untilWell() {
        return until('the Redis Cluster to be well', async () => {
            for (const node of this.nodes) {
                const health = await node.command('CLUSTER', 'INFO');
                const role = await node.command('INFO', 'replication');
                if (!/cluster_state:ok/.test(health) || !/role:master|master_link_status:up/.test(role))
                    throw new Error(`${node.address}: ${health}${role}`);
            }
            return (await this.masters[0].command('CLUSTER', 'NODES')).split('\n').every((line) => !/fail/.test(line));
        });
    }

    async slotOf(key) {
        return Number(await this.nodes.find(({ alive }) => alive).command('CLUSTER', 'KEYSLOT', key));
    }

    /* Of the keys of a topic: the tag is the broker's choice, so it is looked for. */
    async slotOfTopic(topic) {
        for (const node of this.nodes.filter(({ alive }) => alive)) {
            const keys = await node.command('KEYS', `shoal:{*}{${topic}}m`).catch(() => '');
            if (keys) return this.slotOf(keys.split('\n')[0]);
        }
        throw new Error(`no node has keys of ${topic}`);
    }

    async ownerOf(slot) {
        for (const node of this.nodes.filter(({ alive }) => alive)) {
            const mine = (await node.command('CLUSTER', 'NODES')).split('\n').find((line) => line.includes('myself'));
            const ranges = mine.split(' ').slice(8).filter((range) => !range.startsWith('['));
            const has = ranges.map((range) => range.split('-').map(Number));
            if (/master/.test(mine) && has.some(([begin, end = begin]) => slot >= begin && slot <= end)) return node;
        }
        throw new Error(`nobody has slot ${slot}`);
    }

    async moveSlot(slot, to, { open_ms = 0 } = {}) {
        const from = await this.ownerOf(slot);
        const [to_id, from_id] = [await to.command('CLUSTER', 'MYID'), await from.command('CLUSTER', 'MYID')];
        await to.command('CLUSTER', 'SETSLOT', slot, 'IMPORTING', from_id);
        await from.command('CLUSTER', 'SETSLOT', slot, 'MIGRATING', to_id);
        for (let batch = 1; ; batch = 100) {
            const keys = (await from.command('CLUSTER', 'GETKEYSINSLOT', slot, batch)).split('\n').filter(Boolean);
            if (!keys.length) break;
            await from.command('MIGRATE', to.bind, to.port, '', 0, 5000, 'KEYS', ...keys);
            if (batch === 1) await pause(open_ms);
        }
        await to.command('CLUSTER', 'SETSLOT', slot, 'NODE', to_id);
        await from.command('CLUSTER', 'SETSLOT', slot, 'NODE', to_id);
        return { from, to };
    }

    /* All slots: those that have keys one by one, the others at once by a node that has none of them. */
    async moveAll(from, to) {
        const to_id = await to.command('CLUSTER', 'MYID');
        const from_id = await from.command('CLUSTER', 'MYID');
        const mine = (await from.command('CLUSTER', 'NODES')).split('\n').find((line) => line.includes('myself'));
        const [begin, end] = mine.split(' ')[8].split('-').map(Number);
        const slots = Array.from({ length: end - begin + 1 }, (_, i) => begin + i);
        const lines = (each) => slots.map(each).join('\n');
        await to.script(lines((slot) => `CLUSTER SETSLOT ${slot} IMPORTING ${from_id}`));
        await from.script(lines((slot) => `CLUSTER SETSLOT ${slot} MIGRATING ${to_id}`));
        for (;;) {
            const keys = (await from.command('KEYS', '*')).split('\n').filter(Boolean);
            if (!keys.length) break;
            const tags = new Set(keys.map((key) => /^[^{]*\{([^}]*)\}/.exec(key)[1])); // one command is of one slot
            for (const tag of tags) {
                const of_tag = keys.filter((key) => key.includes(`{${tag}}`)).slice(0, 1000);
                await from.command('MIGRATE', to.bind, to.port, '', 0, 5000, 'KEYS', ...of_tag);
            }
        }
        await to.script(lines((slot) => `CLUSTER SETSLOT ${slot} NODE ${to_id}`));
        await from.script(lines((slot) => `CLUSTER SETSLOT ${slot} NODE ${to_id}`));
    }

    async failover(replica) {
        await replica.command('CLUSTER', 'FAILOVER');
        await this.untilPromoted(replica);
    }

    untilPromoted(replica) {
        return until('the replica to be promoted', async () =>
            /role:master/.test(await replica.command('INFO', 'replication')),
        );
    }

    async end() {
        for (const node of this.nodes) await node.end();
    }
}
