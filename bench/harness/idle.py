"""idle: real subscribers, up to a number, by bench/load/idle.c: what an idle one costs.

Then, with as many as they can hold here, the same of other brokers (--servers, --peers-connections). churn is idle with
comes and goes after it.
"""

import argparse
import json
import math
import signal
import sys
import threading
import time
from pathlib import Path

from . import plot, processes, report, servers
from .servers import MESH_SLOTS_MANY, RING_CONNECTIONS

PEERS_CONNECTIONS = 15000  # what a process of 20,000 descriptors holds for sure
PEERS_IDLE_S = 35  # longer than anybody's interval of pings
CHURN = {"--churn": 10000, "--churn-s": 600, "--idle-s": 5, "--all-messages": 1}
CHURN_CONNECTIONS = 100000
TCP_LOOK_S = 0.1

# What the load program says to subscribe. (The pings of nats go unanswered: the run is over before it minds.)
PEERS = {
    "bun": ["--path", "/sub/bench"], "ws": ["--path", "/sub/bench"], "nchan": ["--path", "/sub/bench"],
    "nats": ["--path", "/", "--hello", 'CONNECT {"verbose":false}\r\nSUB bench 1\r\n'],
}

BROKER_FIGURES = ["handshakes_failed", "handshakes_timed_out", "heartbeats_sent", "heartbeat_timeouts",
                  "accept_pauses", "turns_behind", "turn_us_worst"]

IDLE_COLUMNS = {
    "connections": "subscribers", "resident_bytes_each": "resident bytes each",
    "kernel_bytes_each": "kernel bytes each, both ends",
    "connect_per_s": "connects a second", "connect_cpu_us_each": "CPU us a connect",
    "idle_cpu_us_each_s": "idle CPU us a second each", "few_p50_us": "10: p50 us", "few_p99_us": "10: p99 us",
    "few_cpu_us_each": "10: CPU us a publish", "all_seconds_each": "all: s a publish", "all_p50_us": "all: p50 us",
    "all_p99_us": "all: p99 us", "all_cpu_ns_a_delivery": "all: CPU ns a delivery",
}


def show_slabs(record):
    rows = [{"cache": name, "bytes": size} for name, size in
            sorted(record["slab_bytes_each"].items(), key=lambda item: -item[1])]
    print(f"Kernel slabs a subscriber, both ends of its connection, at {record['connections']:,}:\n")
    report.show(rows, {"cache": "cache", "bytes": "bytes"})


def show_talkers(record):
    caches = sorted(set(record["idle"]) | set(record["talking"]) | set(record["silent"]))
    rows = [{"cache": name} | {state: record[state].get(name, 0) for state in ("idle", "talking", "silent")}
            for name in caches]
    print(f"Kernel slabs of one that publishes, both ends of its connection, of {record['talkers']:,}:\n")
    report.show(rows, {"cache": "cache", "idle": "idle, bytes", "talking": "talking", "silent": "silent again"})


def broker_figures(process, log):
    """What the broker has counted so far: it logs that when it is asked to."""
    before = len(processes.logged(log, "stats"))
    process.send_signal(signal.SIGUSR1)
    processes.wait_until(lambda: len(processes.logged(log, "stats")) > before, "the broker's figures")
    return {name: processes.logged(log, "stats")[-1][name] for name in BROKER_FIGURES}


class TcpPages(threading.Thread):
    """The most pages that the kernel counted for bytes under way on all TCP sockets: what net.ipv4.tcp_mem bounds."""

    def __init__(self):
        super().__init__(daemon=True)
        self.most = 0
        self.start()

    def run(self):
        while True:
            words = Path("/proc/net/sockstat").read_text("ascii").split()
            self.most = max(self.most, int(words[words.index("TCP:") + 10]))
            time.sleep(TCP_LOOK_S)

    def take(self):
        most, self.most = self.most, 0
        return most


def run(arguments, rest):
    parser = argparse.ArgumentParser(prog="bench idle", add_help=False)
    parser.add_argument("--peers-connections", type=int, default=PEERS_CONNECTIONS)
    own, rest = parser.parse_known_args(rest)
    run_shoal(arguments, rest)
    run_peers(arguments, min(arguments.connections, own.peers_connections))


def run_churn(arguments, rest):
    given = {option.split("=")[0] for option in rest}
    for option, value in CHURN.items():
        rest = rest if option in given else rest + [option, value]
    if "--churn" not in given:
        arguments.connections = max(arguments.connections, CHURN_CONNECTIONS)
    run_shoal(arguments, rest)


def measure(arguments, process, port, rest):
    """What the load program tells: of each step, and besides."""
    steps, others, pages = [], [], TcpPages()
    for record in processes.json_lines([arguments.build / "bench/idle", "--port", port, "--pid", process.pid,
                                        "--connections", arguments.connections, *rest]):
        if "connections" in record:
            record["kernel_bytes_each"] = sum(record["slab_bytes_each"].values())
            record |= broker_figures(process, processes.broker_log(arguments.build))
            steps.append(record | {"tcp_pages_most": pages.take()})
        else:
            others.append(record)
            show_talkers(record) if "talkers" in record else print(json.dumps(record), flush=True)
    return steps, others


def run_shoal(arguments, rest):
    shards = arguments.shards or max(2, math.ceil(arguments.connections / RING_CONNECTIONS))
    sets = [f"broker.shards={shards}"] + ([f"broker.mesh_slots={MESH_SLOTS_MANY}"] if shards > 16 else [])
    with processes.broker(arguments.build, processes.broker_log(arguments.build), sets) as (process, port):
        print(f"Idle subscribers: {arguments.connections:,} to a broker of {shards} shards\n", flush=True)
        steps, others = measure(arguments, process, port, rest)
    rows = [report.flat(record) for record in steps]
    report.show(rows, IDLE_COLUMNS)
    report.show(rows, {"connections": "subscribers", "tcp_pages_most": "TCP pages at most",
                       **{name: name.replace("_", " ") for name in BROKER_FIGURES}})
    show_slabs(steps[-1])
    save(arguments.results, rows, others)


def save(results, rows, others):
    report.save(results / "idle.csv", rows)
    report.save(results / "idle_leave.csv", [record for record in others if "left" in record])
    talkers = [report.flat(record) for record in others if "talkers" in record]
    if talkers:
        report.save(results / "idle_talkers.csv", talkers)
    churned = [record for record in others if "churn_per_s" in record]
    if churned:
        report.save(results / "idle_churn.csv", churned)
        plot.lines(results / "idle_churn.svg", "Comes and goes", "seconds", {
            "resident bytes": [(row["seconds"] + 1, row["resident_bytes"]) for row in churned],
            "comes and goes a second": [(row["seconds"] + 1, row["churn_per_s"]) for row in churned]})
    plot.lines(results / "idle.svg", "Idle subscribers", "subscribers", {
        "resident bytes each": [(row["connections"], row["resident_bytes_each"]) for row in rows],
        "kernel bytes each, both ends": [(row["connections"], row["kernel_bytes_each"]) for row in rows],
        "CPU us a connect": [(row["connections"], row["connect_cpu_us_each"]) for row in rows],
    })


def run_peers(arguments, connections):
    rows = []
    names = [name for name in arguments.servers if name in PEERS]
    if {"bun", "ws"} & set(names):
        servers.install_from_npm()
    for name in names:
        server = servers.SERVERS[name]
        if not server.is_installed(arguments.build):
            print(f"bench: {name} is not here, and is left out", file=sys.stderr)
            continue
        with server.run(arguments.build, None, processes.processors(0)[1]) as (pid, port):
            for record in processes.json_lines([arguments.build / "bench/idle", "--port", port, "--pid", pid,
                                                "--connections", connections, "--idle-s", PEERS_IDLE_S, *PEERS[name]]):
                if record.get("connections") == connections:
                    rows.append({"broker": name} | report.flat(record))
    if rows:
        print(f"Others, {connections:,} subscribers each\n")
        report.show(rows, {"broker": "broker"} | {key: IDLE_COLUMNS[key] for key in (
            "resident_bytes_each", "connect_per_s", "connect_cpu_us_each", "idle_cpu_us_each_s")})
        report.save(arguments.results / "idle_peers.csv", rows)
