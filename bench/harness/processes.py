"""processes: starting and ending them, and which processors they run on."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

READY_S = 60
END_S = 40
PEER_PORTS = (20000, 30000)  # below those that are given for port 0


def wait_until(condition, what):
    end = time.monotonic() + READY_S
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"bench: waited in vain for {what}")
        time.sleep(0.02)


def stop(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port():
    """For a peer that must be told its port: none that somebody else may be given before the peer takes it."""
    while True:
        port = random.randrange(*PEER_PORTS)
        with socket.socket() as free:
            if free.connect_ex(("127.0.0.1", port)) != 0:
                return port


def broker_log(build):
    """Where a broker of this run logs: other runs, a test beside this one say, have their own."""
    return build / f"bench/shoald-{os.getpid()}.log"


def logged(log, event):
    """What a broker has logged as this event so far. The last line may still be on its way: it is left out."""
    whole = Path(log).read_text("utf-8").rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines() if f'"event":"{event}"' in line]


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def processors(server_cores):
    """Those of the server and those of the load: the first ones, and what is left, or all if nothing is."""
    every = sorted(os.sched_getaffinity(0))
    server = every[:server_cores]
    return server, every[server_cores:] or every


def pinned(command, cores, **options):
    """Starts a process that stays on these processors."""
    taskset = ["taskset", "--cpu-list", ",".join(str(core) for core in cores)]
    return subprocess.Popen(taskset + [str(part) for part in command], **options)


@contextlib.contextmanager
def started(command, log, port, cores, **options):
    """A server that listens at a port soon: yields its process. What it says goes to the log."""
    with open(log, "w", encoding="utf-8") as lines:
        process = pinned(command, cores, stdout=lines, stderr=lines, **options)
        try:

            def is_ready():
                if process.poll() is not None:
                    sys.exit(f"bench: {command[0]} did not start: see {log}")
                return answers(port)

            wait_until(is_ready, command[0])
            yield process
        finally:
            stop(process)


@contextlib.contextmanager
def broker(build, log, sets, cores=None):
    """The broker on free ports: yields its process, with its admin address, and port. `sets`: its --set options."""
    command = [build / "bin/shoald", "--set", "listen.address=127.0.0.1:0", "--set", "admin.address=127.0.0.1:0"]
    for setting in sets:
        command += ["--set", setting]
    with open(log, "w+", encoding="utf-8") as lines:
        process = pinned(command, cores or sorted(os.sched_getaffinity(0)), stderr=lines)
        try:
            ready = []

            def is_ready():
                if process.poll() is not None:
                    sys.exit(f"bench: the broker did not start: see {log}")
                ready[:] = logged(log, "ready")
                return ready

            wait_until(is_ready, "the broker")
            process.admin = ready[0]["admin"]
            yield process, int(ready[0]["data"].rsplit(":", 1)[1])
        finally:
            stop(process)


def json_lines(command):
    """What a load program prints, object by object as it comes."""
    with subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            yield json.loads(line)
    if process.returncode:
        sys.exit(f"bench: {Path(command[0]).name} failed with {process.returncode}")
