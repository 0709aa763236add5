"""Stalled readers: subscribers that stop reading, many of them, for little memory.

    python3 stalled_readers.py HOST PORT COUNT raw|json TOPIC

Opens COUNT WebSockets that follow TOPIC, waits until each subscription stands, prints "ready", and then never reads
again, until its standard input ends. The sockets are made small (window and segments), so that what the kernel buffers
for them does not hide what the broker does: with ordinary ones a thousand readers swallow gigabytes before the first
of them is behind. That can't be asked for in Node, hence Python.
"""

import base64
import os
import resource
import socket
import struct
import sys

SEGMENT_BYTES = 536
WINDOW_BYTES = 2048


def connect(host, port):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW_BYTES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
    sock.settimeout(60)
    sock.connect((host, port))
    return sock


def upgrade(sock, path):
    key = base64.b64encode(os.urandom(16)).decode()
    sock.sendall((f"GET {path} HTTP/1.1\r\nHost: stalled\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n").encode())


def read_until(sock, mark, what):
    """Reads byte by byte, so that nothing behind the mark is taken."""
    got = b""
    while not got.endswith(mark):
        byte = sock.recv(1)
        if not byte:
            sys.exit(f"{what}: the connection ended after {got!r}")
        got += byte
    return got


def send_text(sock, text):
    payload, key = text.encode(), os.urandom(4)
    masked = bytes(byte ^ key[at & 3] for at, byte in enumerate(payload))
    sock.sendall(struct.pack("!BB", 0x81, 0x80 | len(payload)) + key + masked)


def subscriber(host, port, dialect, topic):
    sock = connect(host, port)
    upgrade(sock, f"/v1/topics/{topic}" if dialect == "raw" else "/v1/ws")
    head = read_until(sock, b"\r\n\r\n", "the upgrade")
    if not head.startswith(b"HTTP/1.1 101 "):
        sys.exit(f"the upgrade was answered by {head!r}")
    if dialect == "json":
        send_text(sock, f'{{"op":"subscribe","id":1,"topic":"{topic}"}}')
        read_until(sock, b'"op":"ok","id":1', "the subscription")
    return sock


def main():
    host, port, count, dialect, topic = sys.argv[1:]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    readers = [subscriber(host, int(port), dialect, topic) for _ in range(int(count))]
    print("ready", flush=True)
    sys.stdin.read()
    del readers


main()
