"""harness: what bench/run is made of.

    scenario.py    reads bench/scenarios/NAME.toml
    servers.py     the broker, its peers and the floor: how each is configured, started and spoken to
    rounds.py      runs a scenario at each of them, interleaved, and takes medians
    budgets.py     reads bench/budgets and holds medians against it
    report.py      tables, CSV
    plot.py        SVG
    processes.py   starting, pinning and ending processes
    idle.py, crowd.py, micro.py    the benchmarks that are no scenario
"""
