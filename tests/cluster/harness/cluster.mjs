/*
 * cluster: Redis servers and brokers that are federated by them, all on 127.0.0.1, started and ended by the test.
 *
 *   withCluster({redis: 1, hosts: 2, …}, async (cluster) => …)
 *
 * cluster.redis: Redis servers (redis.mjs). cluster.hosts: [{broker, name}]; a host that was killed may be started
 * again (startHost), with a broker that knows nothing any more. Topics below log/ are logged, all others live. Probes
 * come ten times as often as by default, so that a fault is noticed within a test's patience.
 */
import { Broker } from '../../integration/harness/broker.mjs';
import { until } from '../../integration/harness/wait.mjs';
import { Redis } from './redis.mjs';
import { RedisCluster } from './redis_cluster.mjs';

export const SETTINGS = {
    'cluster.probe_ms': 100,
    'cluster.timeout_ms': 1000,
    'cluster.wait_ms': 300,
    'cluster.linger_s': 1,
    'namespace.log.prefix': 'log/',
    'namespace.log.logged': true,
    'namespace.log.history_messages': 10000,
    'namespace.log.backlog_bytes': '16M',
};

export class Cluster {
    static async start(options = {}) {
        const cluster = new Cluster(options);
        try {
            await cluster.begin();
        } catch (error) {
            await cluster.abandon();
            throw error;
        }
        return cluster;
    }

    /*
     * redis: how many, or options for each. sharded: instead of them a Redis Cluster (redis_cluster.mjs), these its
     * options; it is cluster.sharded, and its nodes are cluster.redis. doors: URLs to be told to the brokers instead of
     * the servers' own, as a function of the servers. set: settings of every broker; settings: of the one of this
     * index; environment: its variables; launcher: what starts it. files: as of Broker.
     */
    constructor({ redis = 1, sharded = null, hosts = 2, doors = null, wait = true, ...brokers }) {
        this.redis_options = typeof redis === 'number' ? Array.from({ length: redis }, () => ({})) : redis;
        Object.assign(this, { host_count: hosts, sharded_options: sharded, doors, wait, brokers });
        this.redis = [];
        this.hosts = [];
    }

    async begin() {
        if (this.sharded_options) {
            this.sharded = await RedisCluster.start(this.sharded_options);
            this.redis = this.sharded.nodes;
            this.urls = [this.sharded.url];
        } else {
            for (const options of this.redis_options) this.redis.push(await Redis.start(options));
            this.urls = this.doors ? await this.doors(this.redis) : this.redis.map(({ url }) => url);
        }
        for (let index = 0; index < this.host_count; index++) {
            this.hosts.push({ name: `host${index}`, broker: null });
            await this.startHost(this.hosts[index]);
        }
        if (this.wait) await this.untilReady();
    }

    async startHost(host) {
        const index = this.hosts.indexOf(host);
        const { set, settings, environment, launcher, files } = this.brokers;
        const all = {
            ...SETTINGS,
            'cluster.redis': this.urls.join(' '),
            'broker.node': host.name,
            ...set,
            ...settings?.(index),
            ...(host.broker && { 'listen.address': host.broker.data }),
        };
        host.broker = await Broker.start({
            set: all,
            env: environment?.(index),
            launcher: launcher?.(index),
            files,
        });
    }

    /* Every host says that federation is well. */
    untilReady() {
        return until('every host to be ready', async () => {
            for (const host of this.hosts) {
                const { status, body } = await readiness(host.broker);
                if (status !== 200) throw new Error(`${host.name}: ${JSON.stringify(body)}`);
            }
            return true;
        });
    }

    async stop() {
        for (const { broker } of this.hosts) await broker.stop();
        await this.abandon();
    }

    async abandon() {
        for (const { broker } of this.hosts) broker?.abandon();
        for (const redis of this.redis) await redis.end();
    }

    explained(error) {
        for (const { broker } of this.hosts) broker?.explained(error);
        return error;
    }
}

export async function withCluster(options, body) {
    const cluster = await Cluster.start(options);
    try {
        await body(cluster);
        await cluster.stop();
    } catch (error) {
        const explained = cluster.explained(error);
        await cluster.abandon();
        throw explained;
    }
}

/* What /readyz says: {status, body}. */
export async function readiness(broker) {
    const answer = await fetch(`http://${broker.admin}/readyz`);
    return { status: answer.status, body: await answer.json() };
}

/* What /v1/cluster says. */
export async function clusterOf(broker) {
    const answer = await fetch(`http://${broker.admin}/v1/cluster`);
    return answer.json();
}

/* Until the broker says no, for a reason that fits; gives it. */
export function untilNotReady(broker, reason) {
    return until(`the broker to say that ${reason}`, async () => {
        const { status, body } = await readiness(broker);
        if (status !== 503 || !reason.test(JSON.stringify(body))) throw new Error(JSON.stringify(body));
        return body;
    });
}
