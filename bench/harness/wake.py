"""wake: what it costs to wake another thread's ring, by bench/micro/wake.c, which explains the workloads and ways.

Rounds are interleaved as those of scenarios are, and the figures are medians of them.
"""

import statistics

from . import processes, report

WAKES, SMALL = 50000, 200
PING_PONG_COLUMNS = {"way": "way", "cpu_ns_each": "CPU ns a wake, both", "p50_us": "round trip p50, us",
                     "p99_us": "p99, us", "switches_each": "sleeps a wake"}
BUSY_COLUMNS = {"way": "way", "cpu_ns_each": "CPU ns a bell", "neighbour_cpu_ns_each": "neighbour's CPU ns a bell",
                "heard": "wakes heard"}


def median(records):
    """One record of several of the same workload and way."""
    return {key: value if isinstance(value, str) else statistics.median(record[key] for record in records)
            for key, value in records[0].items()}


def run(arguments, _rest):
    taken = {}
    for _ in range(arguments.rounds):
        for record in processes.json_lines([arguments.build / "bench/wake", SMALL if arguments.miniature else WAKES]):
            taken.setdefault((record["workload"], record["way"]), []).append(record)
    rows = [median(records) for records in taken.values()]
    for workload, title, columns in [
            ("ping-pong", "Two threads that sleep wake each other", PING_PONG_COLUMNS),
            ("busy", "One rings another that is busy", BUSY_COLUMNS)]:
        print(f"{title}. Medians; rounds: {arguments.rounds}\n")
        report.show([row for row in rows if row["workload"] == workload], columns)
    report.save(arguments.results / "wake.csv", rows)
