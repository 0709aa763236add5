"""federation: two hosts and Redis, by bench/load/federation.c: what it costs to reach the other host.

    bench/run federation [--topics N] [--messages N]

Two brokers of one shard each, and one or two Redis servers, all on this machine; redis-benchmark publishes to the same
server in the same run, one connection with 64 commands in flight, as the link does it.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from . import processes, report

SETS = ["broker.shards=1", "broker.drain_s=0", "namespace.log.prefix=log", "namespace.log.logged=true",
        "namespace.log.backlog_bytes=64M", "namespace.default.backlog_bytes=64M", "limits.topics=10000000",
        "limits.subscriptions_per_connection=1000000", "cluster.linger_s=1", "publish.idempotency_s=1"]
DELAY_MESSAGES_MOST = 5000
RATE_TOPICS = 64
PIPELINE = 64
BENCHMARK_LEAST = 500 * PIPELINE  # fewer are done in no time, of which it makes no rate


class Redis:
    """A redis-server that keeps nothing."""

    def __init__(self):
        self.port = processes.free_port()
        self.folder = tempfile.mkdtemp()
        self.process = None

    def start(self):
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.folder]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        processes.wait_until(lambda: processes.answers(self.port), "redis-server")

    def stop(self):
        self.process.kill()
        self.process.wait()

    def publish_rate(self, messages):
        """Publishes a second, by redis-benchmark, which gives up unless its pipeline divides the number of commands."""
        count = max(messages // PIPELINE * PIPELINE, BENCHMARK_LEAST)
        command = ["redis-benchmark", "-p", str(self.port), "-n", str(count), "-c", "1", "-P", str(PIPELINE), "-q",
                   "publish", "bench", "x" * 64]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return float(re.findall(r"([\d.]+) requests per second", said)[-1])


def host_log(build, host):
    return build / f"bench/host{host}-{os.getpid()}.log"


def cluster_of(process):
    with urllib.request.urlopen(f"http://{process.admin}/v1/cluster") as answer:
        return json.load(answer)


def wait_ready(process, what):
    processes.wait_until(lambda: cluster_of(process)["ready"], what)


@contextlib.contextmanager
def hosts(arguments, servers):
    """Two brokers federated by so many Redis servers: yields the servers, then process and port of each broker."""
    with contextlib.ExitStack() as stack:
        redis = [Redis() for _ in range(servers)]
        for server in redis:
            stack.callback(shutil.rmtree, server.folder, ignore_errors=True)
            server.start()
            stack.callback(server.stop)
        urls = "cluster.redis=" + " ".join(f"redis://127.0.0.1:{server.port}" for server in redis)
        pair = [stack.enter_context(processes.broker(arguments.build, host_log(arguments.build, host),
                                                     [urls, *SETS])) for host in range(2)]
        for process, _ in pair:
            wait_ready(process, "the federation")
        yield redis, pair


def cpu_us(process):
    fields = Path(f"/proc/{process.pid}/stat").read_text("utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1e6 / os.sysconf("SC_CLK_TCK")


def load(arguments, mode, *options):
    return next(processes.json_lines([arguments.build / "bench/federation", mode, *options]))


def delay(arguments):
    """One message at a time: what is more at the other host is what federation adds."""
    rows = []
    with hosts(arguments, 1) as (_, [(_, here), (_, there)]):
        for kind in ("live", "log"):
            for where, sub in (("same host", here), ("other host", there)):
                row = load(arguments, "delay", "--pub", here, "--sub", sub, "--prefix", kind,
                           "--messages", min(arguments.messages, DELAY_MESSAGES_MOST))
                rows.append({"class": kind, "followed at": where} | row)
    return rows


def rate(arguments):
    """As many as there are: from one host to the other."""
    rows = []
    for servers in (1, 2):
        for kind in ("live", "log"):
            with hosts(arguments, servers) as (redis, pair):
                (first, here), (second, there) = pair
                before = cpu_us(first), cpu_us(second)
                row = load(arguments, "rate", "--pub", here, "--sub", there, "--prefix", kind,
                           "--topics", RATE_TOPICS, "--messages", arguments.messages)
                spent = cpu_us(first) - before[0], cpu_us(second) - before[1]
                rows.append({"class": kind, "Redis": servers} | row | {
                    "CPU us a message, publisher's": spent[0] / arguments.messages,
                    "CPU us a message, follower's": spent[1] / arguments.messages,
                    "redis-benchmark publish per_s": redis[0].publish_rate(arguments.messages)})
    return rows


def come_back(arguments):
    """Redis is killed and started again while a host follows many topics: how long until all is subscribed again."""
    with hosts(arguments, 1) as ([redis], [_, (process, there)]):
        command = [arguments.build / "bench/federation", "interest", "--sub", there, "--topics", arguments.topics]
        with subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True) as follower:
            row = json.loads(follower.stdout.readline())
            wait_ready(process, "all to be subscribed")
            redis.stop()
            processes.wait_until(lambda: not cluster_of(process)["ready"], "the loss to be seen")
            before = cpu_us(process)
            redis.start()
            begin = time.monotonic()
            wait_ready(process, "full service")
            row |= {"seconds to full service": time.monotonic() - begin, "CPU ms": (cpu_us(process) - before) / 1000}
            follower.stdin.close()
    return [row]


def churn(arguments):
    """Topics followed and left, one after the other."""
    with hosts(arguments, 1) as (_, [_, (process, there)]):
        before = cpu_us(process)
        row = load(arguments, "churn", "--sub", there, "--messages", arguments.messages)
        return [row | {"CPU us a change": (cpu_us(process) - before) / row["changes"]}]


PARTS = {"delay": (delay, "Delay, one message at a time"), "rate": (rate, "Messages, from one host to another"),
         "return": (come_back, "Redis comes back"), "churn": (churn, "Topics followed and left")}


def run(arguments, rest):
    parser = argparse.ArgumentParser(prog="bench federation")
    parser.add_argument("--topics", type=int, default=100000)
    parser.add_argument("--messages", type=int, default=200000)
    parser.parse_args(rest, namespace=arguments)
    for name, (measure, title) in PARTS.items():
        rows = [report.flat(row) for row in measure(arguments)]
        print(f"{title}\n")
        report.show(rows, {key: key for key in rows[0]})
        report.save(arguments.results / f"federation_{name}.csv", rows)
