"""servers: the broker, its peers and the floor.

Each is configured as its makers advise for this work: nothing logged, no compression unless it is measured, limits
raised, and kept to as many processors as the scenario says. What speaks WebSocket by path takes a topic's name from
/sub/TOPIC and /pub/TOPIC. Where a server can't do a scenario, the scenario does not name it.

    name          what it is                                              installed by
    shoal         build/release/bin/shoald
    bun           bun.js: Bun.serve, native publish (uWebSockets)         npm
    ws            ws.mjs: the `ws` package on Node, a loop of send()      npm
    nats          nats-server, its protocol over WebSocket                Debian
    nchan         nginx with nchan                                        Debian
    redis         redis-server, Pub/Sub over plain TCP: the line that     Debian
                  WebSockets can't go below, since they add a frame
    floor         floor.c: send() in a loop                               built
    floor-uring   floor.c: the same by io_uring                           built
    floor-zc      floor.c: by io_uring's zero-copy sends; says at its     built
                  end how many of them the kernel copied all the same
"""

import contextlib
import math
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

from . import processes

FOLDER = Path(__file__).resolve().parent.parent / "peers"
NCHAN = "/usr/lib/nginx/modules/ngx_nchan_module.so"
RING_CONNECTIONS = 15500  # a ring holds as many as descriptors are allowed, 20,000 say, and they spread unevenly
MESH_SLOTS_MANY = 64  # a mesh of many shards: its rings are short, or they would be half a gigabyte
OWN_DESCRIPTORS = 200  # of a server, beside its clients'
BY_PATH = ["--subscribe-path", "/sub/{topic}", "--publish-path", "/pub/{topic}"]


def descriptors():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1] - OWN_DESCRIPTORS


def program(name):
    """Where a program is, also if it is one for administrators; None: it is not installed."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def install_from_npm():
    """The peers of npm, as locked. What can't be had is left out."""
    if not (FOLDER / "node_modules").exists():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=FOLDER, check=False)


class Server:
    """How to start one, and how the load program is to speak to it."""

    load_options = BY_PATH

    def __init__(self, name):
        self.name = name

    def is_installed(self, _build):
        return True

    def can_hold(self, connections):
        return connections <= descriptors()

    @contextlib.contextmanager
    def run(self, build, scenario, cores):
        """Yields its process id and port."""
        port = processes.free_port()
        folder = build / "bench/servers" / self.name
        folder.mkdir(parents=True, exist_ok=True)
        command, environment = self.command(build, folder, port)
        with processes.started(command, folder / "log", port, cores, cwd=FOLDER,
                               env=os.environ | environment) as process:
            yield process.pid, port

    def command(self, build, folder, port):
        raise NotImplementedError

    def options_for(self, scenario):
        """Options of the load program; later ones win."""
        return self.load_options


class Shoal(Server):
    """The broker. Of --shards, or as many as it takes to hold all."""

    def can_hold(self, connections):
        return True

    @contextlib.contextmanager
    def run(self, build, scenario, cores):
        shards = max(scenario.cores, math.ceil(scenario.subscribers() / RING_CONNECTIONS))
        sets = [f"broker.shards={shards}"] + ([f"broker.mesh_slots={MESH_SLOTS_MANY}"] if shards > 16 else [])
        with processes.broker(build, processes.broker_log(build), sets + scenario.sets, cores) as (process, port):
            yield process.pid, port

    def options_for(self, scenario):
        if scenario.options.get("publish") in ("post", "libshoal"):
            return ["--publish-path", "/v1/topics/{topic}"]
        return []


class Npm(Server):
    """A server of ours on a runtime or package of npm's."""

    def __init__(self, name, words):
        super().__init__(name)
        self.words = words

    def is_installed(self, _build):
        return (FOLDER / "node_modules/.bin/bun").exists() if self.name == "bun" else (
            (FOLDER / "node_modules/ws").exists() and program("node") is not None)

    def command(self, build, folder, port):
        return self.words, {"PORT": str(port), "NODE_ENV": "production"}


class Floor(Server):
    """Ours, in C."""

    def __init__(self, name, words):
        super().__init__(name)
        self.words = words

    def command(self, build, folder, port):
        return [build / "bench/floor", *self.words], {"PORT": str(port)}


class FloorZeroCopy(Floor):
    """Passes on what it says at its end."""

    @contextlib.contextmanager
    def run(self, build, scenario, cores):
        with super().run(build, scenario, cores) as (pid, port):
            yield pid, port
        said = (build / "bench/servers" / self.name / "log").read_text("utf-8")
        print(said, end="", file=sys.stderr)
        if not re.search(r"of [1-9]\d* zero-copy sends", said):
            sys.exit(f"bench: {self.name} has sent nothing without copying: {said}")


class Nats(Server):
    """Waits longer for slow readers than it does by itself, as all the others do."""

    load_options = ["--protocol", "nats", "--publish", "nats"]

    def is_installed(self, _build):
        return program("nats-server") is not None

    def command(self, build, folder, port):
        (folder / "nats.conf").write_text(
            f'listen: "127.0.0.1:{processes.free_port()}"\nmax_connections: 1000000\nmax_payload: 8MB\n'
            f'max_pending: 1GB\nwrite_deadline: "60s"\nlogfile: "{folder}/nats.log"\n'
            f'websocket {{ listen: "127.0.0.1:{port}", no_tls: true, compression: false }}\n', encoding="utf-8")
        return [program("nats-server"), "--config", folder / "nats.conf"], {"GOMAXPROCS": "1"}


class Nchan(Server):
    """One process without a master; messages in its memory, as many as a channel may be behind."""

    def is_installed(self, _build):
        return program("nginx") is not None and Path(NCHAN).exists()

    def command(self, build, folder, port):
        (folder / "nginx.conf").write_text(f"""
load_module {NCHAN};
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections {descriptors()}; multi_accept on; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 8m;
    nchan_shared_memory_size 512m;
    nchan_message_buffer_length 4096;
    nchan_message_timeout 60s;
    server {{
        listen 127.0.0.1:{port} backlog=65535;
        location ~ ^/sub/(.+)$ {{
            nchan_subscriber websocket;
            nchan_channel_id $1;
            nchan_subscriber_first_message newest;
        }}
        location ~ ^/pub/(.+)$ {{
            nchan_publisher websocket;
            nchan_channel_id $1;
        }}
    }}
}}
""", encoding="utf-8")
        return [program("nginx"), "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log"], {}


class Redis(Server):
    """Keeps nothing; subscribers may be behind as far as they like."""

    load_options = ["--protocol", "redis", "--publish", "redis"]

    def is_installed(self, _build):
        return program("redis-server") is not None

    def command(self, build, folder, port):
        return [program("redis-server"), "--bind", "127.0.0.1", "--port", port, "--protected-mode", "no",
                "--save", "", "--appendonly", "no", "--maxclients", descriptors(), "--tcp-backlog", 4096,
                "--dir", folder, "--client-output-buffer-limit", "pubsub 0 0 0"], {}


SERVERS = {server.name: server for server in [
    Shoal("shoal"), Npm("bun", [FOLDER / "node_modules/.bin/bun", FOLDER / "bun.js"]),
    Npm("ws", ["node", FOLDER / "ws.mjs"]), Nats("nats"), Nchan("nchan"), Redis("redis"),
    Floor("floor", []), Floor("floor-uring", ["--io-uring"]), FloorZeroCopy("floor-zc", ["--zero-copy"])]}
