"""idle: real subscribers, up to a number, by bench/load/idle.c: what an idle one costs."""

import json
import math

from . import plot, processes, report
from .servers import MESH_SLOTS_MANY, RING_CONNECTIONS

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


def run(arguments, rest):
    shards = arguments.shards or max(2, math.ceil(arguments.connections / RING_CONNECTIONS))
    sets = [f"broker.shards={shards}"] + ([f"broker.mesh_slots={MESH_SLOTS_MANY}"] if shards > 16 else [])
    steps, others = [], []
    with processes.broker(arguments.build, arguments.build / "bench/shoald.log", sets) as (process, port):
        print(f"Idle subscribers: {arguments.connections:,} to a broker of {shards} shards\n", flush=True)
        for record in processes.json_lines([arguments.build / "bench/idle", "--port", port, "--pid", process.pid,
                                  "--connections", arguments.connections, *rest]):
            if "connections" in record:
                record["kernel_bytes_each"] = sum(record["slab_bytes_each"].values())
                steps.append(record)
            else:
                others.append(record)
                print(json.dumps(record), flush=True)
    rows = [report.flat(record) for record in steps]
    report.show(rows, IDLE_COLUMNS)
    show_slabs(steps[-1])
    report.save(arguments.results / "idle.csv", rows)
    report.save(arguments.results / "idle_leave.csv", [record for record in others if "left" in record])
    if any("churn_per_s" in record for record in others):
        report.save(arguments.results / "idle_churn.csv", [record for record in others if "churn_per_s" in record])
    plot.lines(arguments.results / "idle.svg", "Idle subscribers", "subscribers", {
        "resident bytes each": [(row["connections"], row["resident_bytes_each"]) for row in rows],
        "kernel bytes each, both ends": [(row["connections"], row["kernel_bytes_each"]) for row in rows],
        "CPU us a connect": [(row["connections"], row["connect_cpu_us_each"]) for row in rows],
    })
