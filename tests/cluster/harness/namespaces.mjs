/*
 * namespaces: hosts in network namespaces of their own, made by the test and gone with it.
 *
 *        host0 ──── link ────┐
 *          │                 bridge ── redis          each host and Redis: 10.77.0.N by the links, which are hurt
 *        host1 ──── link ────┘
 *          │
 *        test    (control: 10.78.N.0/24, a pair of its own for each host: never hurt, clients come by it)
 *
 * A test that wants them begins with insideOwnNetwork(): the whole test is run again in a namespace of its own, in
 * which it may do as it likes; where that is not allowed it is skipped, with a word. The other namespaces are those of
 * processes that only sleep, so nothing is left when the test ends, however it ends.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { pause } from '../../integration/harness/wait.mjs';

const SKIPPED_STATUS = 77;
const INSIDE = 'SHOAL_TEST_NETWORK';
const sleepers = new Set();
process.on('exit', () => sleepers.forEach((sleeper) => sleeper.kill('SIGKILL')));

const shell = (command) => execFileSync('sh', ['-c', command], { stdio: ['ignore', 'pipe', 'pipe'] }).toString();

/* Comes back only inside: else this process ends with what the one inside said. */
export function insideOwnNetwork(url) {
    if (process.env[INSIDE]) return shell('ip link set lo up');
    const unshare = process.getuid() === 0 ? ['--net'] : ['--map-root-user', '--net'];
    const allowed = spawnSync('unshare', [...unshare, 'ip', 'link', 'add', 'name', 'tryout', 'type', 'veth']);
    if (allowed.status !== 0) {
        console.log(`SKIPPED: no network namespaces here: ${allowed.stderr ?? allowed.error}`);
        process.exit(SKIPPED_STATUS);
    }
    const args = [...unshare, process.execPath, ...process.execArgv, fileURLToPath(url)];
    const { status } = spawnSync('unshare', args, { stdio: 'inherit', env: { ...process.env, [INSIDE]: '1' } });
    process.exit(status ?? 1);
}

/* A namespace with a link to the bridge, named as it is there and `wire` inside. */
class Space {
    constructor(name, number) {
        Object.assign(this, { name, number, address: `10.77.0.${number}` });
        this.sleeper = spawn('unshare', ['--net', 'sleep', '1000000'], { stdio: 'ignore' });
        sleepers.add(this.sleeper);
    }

    get launcher() {
        return ['nsenter', '-t', String(this.sleeper.pid), '-n'];
    }

    run(command) {
        return shell(`${this.launcher.join(' ')} ${command}`);
    }

    async made() {
        const here = shell('readlink /proc/self/ns/net');
        while (shell(`readlink /proc/${this.sleeper.pid}/ns/net`) === here) await pause(5);
        shell(`ip link add name ${this.name} type veth peer name wire netns ${this.sleeper.pid}`);
        shell(`ip link set ${this.name} master bridge up`);
        this.run(`ip addr add ${this.address}/24 dev wire`);
        this.run('ip link set wire up');
        this.run('ip link set lo up');
        return this;
    }

    /* A way for the test itself, which no fault touches. */
    controlled() {
        const [ours, theirs] = [1, 2].map((end) => `10.78.${this.number}.${end}`);
        shell(`ip link add name ctl${this.number} type veth peer name control netns ${this.sleeper.pid}`);
        shell(`ip addr add ${ours}/24 dev ctl${this.number}`);
        shell(`ip link set ctl${this.number} up`);
        this.run(`ip addr add ${theirs}/24 dev control`);
        this.run('ip link set control up');
        this.control = theirs;
        return this;
    }

    /* What it sends is dropped ('out'), what it is sent ('in'), or both; without a word to either end. */
    cut(...directions) {
        for (const direction of directions)
            this.run(`iptables -A ${direction === 'in' ? 'INPUT -i' : 'OUTPUT -o'} wire -j DROP`);
    }

    mend() {
        this.run('iptables -F');
    }

    /* A delay, where the kernel can (netem), or little room, in which packets wait for each other (tbf). */
    slow() {
        try {
            this.run('tc qdisc add dev wire root netem delay 150ms 50ms');
        } catch {
            this.run('tc qdisc add dev wire root tbf rate 400kbit burst 4kb latency 500ms');
        }
    }

    fast() {
        this.run('tc qdisc del dev wire root');
    }

    /* The cable. */
    down() {
        shell(`ip link set ${this.name} down`);
    }

    up() {
        shell(`ip link set ${this.name} up`);
    }

    end() {
        this.sleeper.kill('SIGKILL');
        sleepers.delete(this.sleeper);
    }
}

/* {redis, hosts}: spaces with their links. */
export async function makeSpaces(count) {
    shell('ip link add name bridge type bridge');
    shell('ip link set bridge up');
    const redis = await new Space('redis', 100).made();
    const hosts = [];
    for (let index = 0; index < count; index++)
        hosts.push((await new Space(`host${index}`, index + 1).made()).controlled());
    return {
        redis,
        hosts,
        end: () => {
            for (const space of [redis, ...hosts]) space.end();
            shell('ip link del bridge');
        },
    };
}
