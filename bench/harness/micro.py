"""micro: how many instructions an operation of the broker's own code takes, by callgrind and bench/micro/micro.c.

Instructions do not depend on what else the machine does: the same build gives the same figure each time, but for what
the allocator and the seed of a hash add. So bench/results/micro.csv is a record that can be compared between commits.
"""

import re
import subprocess
import sys

from . import report
from .servers import program

NAMES = ["ring", "frame", "unmask", "filter", "append"]
OPERATIONS = {"ring": 100000, "frame": 100000, "unmask": 20000, "filter": 10000, "append": 50000}
SMALL = 100  # of these, in miniature


def instructions(arguments, name, operations):
    """Those between the call of measured() and its return."""
    out = arguments.build / f"bench/callgrind.{name}"
    words = ["valgrind", "--tool=callgrind", "--collect-atstart=no", "--toggle-collect=measured",
             f"--callgrind-out-file={out}", arguments.build / "bench/micro", name, operations]
    words += [1000] if arguments.miniature else []
    result = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"bench: micro {name} failed under callgrind: {result.stderr}")
    return int(re.search(r"^(?:summary|totals): (\d+)", out.read_text("utf-8"), re.MULTILINE).group(1))


def nanoseconds(arguments, name, operations):
    words = [arguments.build / "bench/micro", name, operations] + ([1000] if arguments.miniature else [])
    result = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=True)
    return float(result.stdout)


def run(arguments, _rest):
    has_callgrind = program("valgrind") is not None
    if not has_callgrind:
        print("bench: valgrind is not installed: no instructions are counted", file=sys.stderr)
    rows = []
    for name in NAMES:
        operations = SMALL if arguments.miniature else OPERATIONS[name]
        row = {"operation": name, "operations": operations}
        if has_callgrind and not arguments.without_callgrind:
            row["instructions_each"] = instructions(arguments, name, operations) / operations
        row["ns_each"] = nanoseconds(arguments, name, operations * (1 if arguments.miniature else 10))
        rows.append(row)
    print("Instructions an operation (callgrind), and ns as this machine happens to be\n")
    report.show(rows, {"operation": "operation", "operations": "operations", "instructions_each": "instructions each",
                       "ns_each": "ns each"})
    report.save(arguments.results / "micro.csv", [{key: row[key] for key in row if key != "ns_each"} for row in rows])
