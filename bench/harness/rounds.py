"""rounds: runs scenarios at each server, interleaved, and puts the medians beside one another.

In a round each server is started anew, does the scenario once and is ended, one after another, so that whatever else
the machine does hits all alike. The figure of a server is the median of its rounds. A server that loses a message or
stands still fails the scenario: Shoal ends the run by that, a peer is left out with a word (in the tests it fails
them, too).
"""

import json
import statistics
import subprocess
import sys

from . import budgets, plot, processes, report
from .servers import SERVERS


class Failed(Exception):
    """A run that lost something, or stood still."""


def load(build, program, words, cores):
    """Runs a load program on these processors. Returns its result."""
    process = processes.pinned([build / "bench" / program, *words], cores, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    output, errors = process.communicate()
    if process.returncode:
        raise Failed(errors.strip() or f"{program} ended with {process.returncode}")
    return json.loads(output)


def run_half(arguments, scenario, server, words, cores):
    """Saturates, and goes on at half of that by the clock. The first figures come with `saturated_` before them."""
    words = words + server.options_for(scenario)
    saturated = load(arguments.build, "load", words + scenario.load_options(server.name), cores)
    rate = saturated["messages_per_s"] / 2
    messages = max(10, int(rate * scenario.seconds))
    changes = {"inflight": None, "rate": round(rate, 3), "messages": messages}
    result = load(arguments.build, "load", words + scenario.load_options(server.name, changes), cores)
    return result | {f"saturated_{key}": value for key, value in saturated.items()}


def run_once(arguments, scenario, server):
    """One scenario at one server, started for it. Returns the load program's result."""
    server_cores, load_cores = processes.processors(scenario.cores)
    with server.run(arguments.build, scenario, server_cores) as (pid, port):
        words = ["--pid", pid, "--port", port]
        if scenario.kind == "acknowledged":
            words += [word for option, value in scenario.options.items() for word in (f"--{option}", value)]
            return load(arguments.build, "acknowledged", words, load_cores)
        words += ["--settle-ms", 50] if arguments.miniature else []
        if scenario.kind == "half":
            return run_half(arguments, scenario, server, words, load_cores)
        words += scenario.load_options(server.name) + server.options_for(scenario)
        return load(arguments.build, "load", words, load_cores)


def servers_for(arguments, scenario):
    """Those of the scenario that were asked for, are installed, and can hold its connections."""
    chosen = []
    for name in scenario.servers:
        server = SERVERS[name]
        if name != "shoal" and name not in arguments.servers:
            continue
        if not server.is_installed(arguments.build):
            print(f"bench: {name} is not installed, and is left out", file=sys.stderr)
        elif not server.can_hold(scenario.subscribers() if scenario.group else 1):
            print(f"bench: {name} can't hold {scenario.subscribers():,} connections with this limit on descriptors, "
                  "and is left out", file=sys.stderr)
        else:
            chosen.append(server)
    return chosen


def measure(arguments, scenario):
    """server → medians of all rounds."""
    taken = {server.name: [] for server in servers_for(arguments, scenario)}
    for number in range(arguments.rounds):
        for name in list(taken):
            print(f"bench: {scenario.title}: round {number + 1}, {name}", file=sys.stderr)
            try:
                taken[name].append(run_once(arguments, scenario, SERVERS[name]))
            except Failed as failed:
                if name == "shoal" or arguments.miniature:
                    sys.exit(f"bench: {scenario.title}: {name}: {failed}")
                print(f"bench: {name} failed at {scenario.title}, and is left out: {failed}", file=sys.stderr)
                del taken[name]
    return {name: {key: statistics.median(record[key] for record in records) for key in records[0]}
            for name, records in taken.items()}


def compare(scenario, medians, limits, known):
    """A row of the table for each measure. known: (scenario, measure) → Shoal's figure, of this run so far."""
    rows = []
    for measured in scenario.measures:
        figures = {name: record.get(measured) for name, record in medians.items()}
        known[scenario.name, measured] = figures["shoal"]
        row = {"scenario": scenario.title, "measure": measured, "shoal": figures["shoal"]}
        for name, value in figures.items():
            if name != "shoal" and value and figures["shoal"] is not None:
                row[name] = figures["shoal"] / value
        row["budget"], row["red"] = budgets.judge(limits, scenario.name, measured, figures, known)
        rows.append(row)
    return rows


def save(arguments, file, scenarios, medians):
    """CSV of all that was measured, and bars of the first measure."""
    records = [{"scenario": scenario.name, "server": name} | record
               for scenario, by_server in zip(scenarios, medians) for name, record in by_server.items()]
    report.save(arguments.results / f"{file}.csv", records)
    plot.bars(arguments.results / f"{file}.svg", f"{file}: {scenarios[0].measures[0]}", [
        (scenario.name, {name: record[scenario.measures[0]] for name, record in by_server.items()})
        for scenario, by_server in zip(scenarios, medians)])


def run(arguments, files, limits):
    """files: name → its scenarios. Prints one table; returns whether all budgets were kept."""
    rows, known = [], {}
    for file, scenarios in files.items():
        medians = [measure(arguments, scenario) for scenario in scenarios]
        save(arguments, file, scenarios, medians)
        for scenario, by_server in zip(scenarios, medians):
            rows += compare(scenario, by_server, limits, known)
    names = [name for name in SERVERS if name != "shoal" and any(name in row for row in rows)]
    print(f"Medians; rounds: {arguments.rounds}. Under each name: Shoal's figure divided by its.\n")
    report.show(rows, {"scenario": "scenario", "measure": "measure", "shoal": "Shoal"}
                | {name: f"/ {name}" for name in names} | {"budget": "budget"})
    report.save(arguments.results / "table.csv", [{key: value for key, value in row.items() if key != "red"}
                                                  for row in rows])
    over = [row for row in rows if row["red"]]
    for row in over:
        print(f"{report.RED}over budget: {row['scenario']}: {row['measure']}: {row['budget']}{report.PLAIN}")
    return not over
