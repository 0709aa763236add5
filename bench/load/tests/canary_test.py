#!/usr/bin/env python3
"""canary_test: that the load generator sees what it is there to see.

A server of a few lines does one thing wrong: it loses a message, sends one twice, swaps two, sends one to the wrong
topic's subscriber, or spoils a stamp. The load must end with status 1 and say so. With nothing wrong it must succeed,
or the rest would mean nothing.

    canary_test.py LOAD      where the load program is
"""

import os
import select
import socket
import subprocess
import sys
import threading

ANSWER = (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          b"Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n\r\n")
SIZE = 128
MASKED_FRAME = 2 + 2 + 4 + SIZE  # 128 needs a length of two bytes
FAULT_AT = 50
FAULTS = {  # name → what the load says
    "none": None,
    "lose": "was next",
    "double": "was next",
    "swap": "was next",
    "stray": "came to a subscriber of topic",
    "spoil": "nobody published",
}


class Server(threading.Thread):
    """Two topics; publishers' frames go to the subscribers of their topic, all but one of them."""

    def __init__(self, fault):
        super().__init__(daemon=True)
        self.fault = fault
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.subscribers = {"0": [], "1": []}
        self.publishers = {}
        self.frames = 0
        self.kept = None

    def run(self):
        while True:
            for ready in select.select([self.listener, *self.publishers], [], [])[0]:
                try:
                    if ready is self.listener:
                        self.accept()
                    else:
                        self.work(ready)
                except OSError:
                    return  # the load has ended, as it should

    def accept(self):
        connection = self.listener.accept()[0]
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += connection.recv(4096)
        path = request.split(b" ")[1].decode()
        connection.sendall(ANSWER)
        if path.startswith("/pub/"):
            self.publishers[connection] = path[-1]
        else:
            self.subscribers[path[-1]].append(connection)

    def work(self, publisher):
        frame = publisher.recv(MASKED_FRAME, socket.MSG_WAITALL)
        if not frame:
            raise ConnectionError
        message = bytes([frame[0], frame[1] & 0x7F]) + frame[2:4] + frame[8:]
        self.frames += 1
        for wire in self.spoilt(message) if self.frames >= FAULT_AT and self.fault != "none" else [message]:
            topic = self.publishers[publisher]
            if self.fault == "stray" and self.frames == FAULT_AT:
                topic = {"0": "1", "1": "0"}[topic]
            for subscriber in self.subscribers[topic]:
                subscriber.sendall(wire)

    def spoilt(self, message):
        """What is sent instead of a message, from the FAULT_AT-th on."""
        is_first = self.frames == FAULT_AT
        if self.fault == "lose" and is_first:
            return []
        if self.fault == "double" and is_first:
            return [message, message]
        if self.fault == "spoil" and is_first:
            return [message[:10] + b"?" + message[11:]]
        if self.fault == "swap" and is_first:
            self.kept = message
            return []
        if self.fault == "swap" and self.kept and self.frames == FAULT_AT + 2:  # the next of the same topic
            return [message, self.kept]
        return [message]


def check(load, fault):
    """Whether the load says of this server what it should."""
    server = Server(fault)
    server.start()
    result = subprocess.run(
        [load, "--pid", str(os.getpid()), "--port", str(server.listener.getsockname()[1]), "--settle-ms", "20",
         "--subscribe-path", "/sub/{topic}", "--publish-path", "/pub/{topic}",
         "--group", f"subscribers=4,topics=2,size={SIZE},rate=1000,messages=200"],
        capture_output=True, text=True, check=False)
    wanted = FAULTS[fault]
    is_right = result.returncode == 0 if wanted is None else result.returncode == 1 and wanted in result.stderr
    print(f"{fault}: {'ok' if is_right else 'NOT SEEN'}: status {result.returncode} {result.stderr.strip()}")
    return is_right


if __name__ == "__main__":
    sys.exit(0 if all([check(sys.argv[1], fault) for fault in FAULTS]) else 1)
