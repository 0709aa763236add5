"""crowd: up to ten million connections in the broker's own code, by bench/micro/crowd.c."""

import sys

from . import plot, processes, report

CROWD_COLUMNS = {
    "connections": "connections", "resident_bytes": "resident bytes", "resident_bytes_each": "bytes each",
    "connect_ns_each": "connect ns", "publish_few_us": "publish to 10, us",
    "publish_many_ns_a_delivery": "delivery ns", "sweep_ns_each_s": "sweep ns a second each",
    "leave_ns_each": "leave ns", "resident_bytes_after": "bytes after all left",
}


def run(arguments, rest):
    rows = []
    command = [arguments.build / "bench/crowd", "--connections", arguments.connections, *rest]
    for record in processes.json_lines(command):
        rows.append(report.flat(record))
        print(f"crowd: {record['connections']:,} done", file=sys.stderr)
    print("The broker's own code, without a kernel's sockets\n")
    report.show(rows, CROWD_COLUMNS)
    name = "crowd" if rows[-1]["per_topic"] > 1 else "crowd_topic_each"
    report.save(arguments.results / f"{name}.csv", rows)
    plot.lines(arguments.results / f"{name}.svg", "The broker's own code", "connections", {
        heading: [(row["connections"], row[key]) for row in rows] for key, heading in [
            ("resident_bytes_each", "resident bytes each"), ("connect_ns_each", "connect, ns each"),
            ("publish_few_us", "publish to ten, us"), ("sweep_ns_each_s", "sweep, ns a second each"),
            ("leave_ns_each", "leave, ns each")]})
