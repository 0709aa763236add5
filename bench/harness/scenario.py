"""scenario: a workload, as bench/scenarios/NAME.toml describes it.

A file explains its workload in a comment first. Then:

    title       what the table calls it
    short       true: part of `./dev bench` without arguments
    kind        "load" (default): bench/load/load.c as it is told
                "half": the same twice: as given, which saturates, and by the clock at half of the rate that was reached
                "acknowledged": bench/load/acknowledged.c; Shoal alone
    measures    what of the results is compared (the head of load.c lists them)
    servers     those that it is run at (harness/servers.py); all but floor-zc if it names none
    cores       of the server (default 1)
    seconds     of the second run of "half"
    options     the load program's own: protocol, publish, warm-up …
    peer.NAME   options for one server alone
    sets        more of the broker's configuration
    group.NAME  of the load: bench/load/workload.h has the fields
    variant     the same once more with what it names replaced; "name" is its name
    miniature   what is replaced in the tests; there only the first variant is run at all servers, others at Shoal and
                the floor, and at floor-zc where it is named
"""

import tomllib
from dataclasses import dataclass, field

# They take ten times as long as the others for each delivery, and so get a tenth of a closed loop's messages.
SLOW_SERVERS = ["ws", "nats", "nchan"]
SLOW_SHARE = 10
LEAST_MESSAGES = 500  # are left of those; a scenario of fewer is not cut

EVERY_SERVER = ["shoal", "bun", "ws", "nats", "nchan", "redis", "floor", "floor-uring"]


@dataclass
class Scenario:
    """One variant of a file."""

    name: str  # of the file and the variant: "lone/1000"
    title: str
    kind: str = "load"
    measures: list = field(default_factory=lambda: ["cpu_ns_each"])
    servers: list = field(default_factory=lambda: EVERY_SERVER)
    cores: int = 1
    seconds: float = 10
    options: dict = field(default_factory=dict)
    peer: dict = field(default_factory=dict)
    sets: list = field(default_factory=list)
    group: dict = field(default_factory=dict)
    short: bool = False

    def subscribers(self):
        return sum(group["subscribers"] for group in self.group.values())

    def is_long(self):
        """Whether it is a closed loop with more messages than are needed for a median."""
        return all("rate" not in group and group["messages"] >= SLOW_SHARE * LEAST_MESSAGES
                   for group in self.group.values())

    def load_options(self, server, changes=None):
        """The options of the load program at that server. changes: replaced in the first group; None removes."""
        options = self.options | self.peer.get(server, {})
        groups = {name: dict(fields) for name, fields in self.group.items()}
        if server in SLOW_SERVERS and self.is_long():
            options["warm-up"] = options.get("warm-up", 0) // SLOW_SHARE
            for fields in groups.values():
                fields["messages"] //= SLOW_SHARE
        words = [word for option, value in options.items() for word in (f"--{option}", value)]
        for index, (name, fields) in enumerate(groups.items()):
            fields = {"name": name} | fields | (changes or {} if index == 0 else {})
            words += ["--group", ",".join(f"{key}={value}" for key, value in fields.items() if value is not None)]
        return words


def merge(base, more):
    """base with what `more` names replaced, tables within tables."""
    merged = dict(base)
    for key, value in more.items():
        known = merged.get(key)
        merged[key] = merge(known, value) if isinstance(value, dict) and isinstance(known, dict) else value
    return merged


def read(path, miniature=False):
    """The variants of a file, as scenarios."""
    with open(path, "rb") as file:
        base = tomllib.load(file)
    variants = base.pop("variant", [{}])
    small = base.pop("miniature", {})
    found = []
    for variant in variants:
        described = merge(base, variant)
        small_variant = described.pop("miniature", {})
        if miniature:
            described = merge(merge(described, small), small_variant)
            if found:
                described["servers"] = [name for name in described.get("servers", EVERY_SERVER)
                                        if name in ("shoal", "floor", "floor-zc")]
        name = described.pop("name", None)
        title = described.pop("title") + (f": {name}" if name else "")
        found.append(Scenario(name=path.stem + (f"/{name}" if name else ""), title=title, **described))
    return found
