#!/usr/bin/env python3
"""bin_v1: writes bin_v1.json, the golden vectors of the binary dialect, from the tables in docs/PROTOCOL.md.

    python3 tests/golden/bin_v1.py > tests/golden/bin_v1.json

A second reading of the document, which shares no code with protocol/dialect_bin.c: where the two disagree, one of them
is wrong. The fields of a vector are named as in the document; topics, tokens, keys and texts are strings, payloads are
hex. Other implementations may use the vectors as they are.
"""

import json
from struct import pack

KINDS = {"binary": 0, "text": 1, "json": 2}
FROMS = {"new": 0, "last": 1, "position": 2, "positions": 3}
REASONS = {"slow": 0, "expired": 1, "epoch": 2}
# Only those that the vectors name.
ERRORS = {"message_invalid": (1, False, "This is not a valid message of the dialect."),
          "busy": (20, True, "The broker is short of room for this now: try again.")}


def record(kind, body):
    size, length = b"", len(body)
    while length >= 0x80:
        size += bytes([length & 0x7F | 0x80])
        length >>= 7
    return bytes([kind]) + size + bytes([length]) + body


def text(value):
    return value.encode()


def short(value):
    return bytes([len(text(value))]) + text(value)


def position(value):
    return short(value["topic"]) + pack("<QQ", int(value["epoch"], 16), value["offset"])


def subscribe(v):
    body = pack("<IB", v["id"], FROMS[v["from"]]) + short(v["topic"])
    if v["from"] == "position":
        body += pack("<QQ", int(v["epoch"], 16), v["offset"])
    if v["from"] == "positions":
        body += pack("<Q", v["since_ms"]) + b"".join(position(p) for p in v["positions"])
    return record(0x01, body)


def publish(v):
    key = text(v.get("key", ""))
    kind = KINDS[v["kind"]] | (0x80 if v.get("again") else 0)
    head = pack("<IBBB", v["id"], kind, len(text(v["topic"])), len(key))
    return record(0x03, head + text(v["topic"]) + key + bytes.fromhex(v["payload"]))


def hello(v):
    names = [text(v[name]) for name in ("server", "node", "session")]
    limits = ("payload_bytes_max", "subscriptions_max", "heartbeat_interval_ms", "idempotency_ms")
    head = pack("<BBBB", 1, *map(len, names)) + pack("<IIII", *(v[name] for name in limits))
    federation = pack("<Q", int(v["federation"], 16)) if "federation" in v else b""
    return record(0x81, head + pack("<QQ", v["time_ms"], int(v["instance"], 16)) + b"".join(names) + federation)


def ok(v):
    flags = (1 if "offset" in v else 0) | (2 if "recovered" in v else 0) | (4 if v.get("recovered") else 0)
    head = pack("<IB", v["id"], flags)
    return record(0x82, head + pack("<QQQ", int(v.get("epoch", "0"), 16), v.get("offset", 0), v["time_ms"]))


def error(v):
    number, retry, message = ERRORS[v["code"]]
    return record(0x84, pack("<IHB", v["id"], number, retry) + short(v["code"]) + text(message))


def message(v):
    head = pack("<QQQB", int(v["epoch"], 16), v["offset"], v["time_ms"], KINDS[v["kind"]])
    return record(0x85, head + short(v["topic"]) + bytes.fromhex(v["payload"]))


WRITERS = {
    "subscribe": subscribe,
    "unsubscribe": lambda v: record(0x02, pack("<I", v["id"]) + text(v["topic"])),
    "publish": publish,
    "auth": lambda v: record(0x04, pack("<I", v["id"]) + text(v["token"])),
    "ping": lambda v: record(0x05, pack("<I", v["id"])),
    "hello": hello,
    "ok": ok,
    "ack": lambda v: record(0x83, pack("<IIQQ", v["id"], v["count"], int(v["epoch"], 16), v["offset"])),
    "error": error,
    "message": message,
    "gap": lambda v: record(0x86, pack("<QQQB", int(v["epoch"], 16), v["from"], v["to"], REASONS[v["reason"]])
                            + short(v["topic"])),
    "pong": lambda v: record(0x87, pack("<IQ", v["id"], v["time_ms"])),
}

EPOCH = "5f0c6f1d2b3a4958"
VECTORS = [
    {"op": "subscribe", "id": 1, "topic": "demo/#", "from": "new"},
    {"op": "subscribe", "id": 2, "topic": "a", "from": "last"},
    {"op": "subscribe", "id": 3, "topic": "demo/hello", "from": "position", "epoch": EPOCH, "offset": 41},
    {"op": "subscribe", "id": 4, "topic": "#", "from": "positions", "since_ms": 1763700000000, "positions": [
        {"topic": "a", "epoch": EPOCH, "offset": 1},
        {"topic": "käse/b", "epoch": "0000000000000001", "offset": 2**40}]},
    {"op": "unsubscribe", "id": 0x80000001, "topic": "demo/#"},
    {"op": "publish", "id": 5, "topic": "demo/hello", "kind": "text", "payload": b"hello, world".hex()},
    {"op": "publish", "id": 6, "topic": "a", "kind": "json", "key": "order-17", "payload": b'{"n":1}'.hex()},
    {"op": "publish", "id": 6, "topic": "a", "kind": "json", "key": "order-17", "again": True,
     "payload": b'{"n":1}'.hex()},
    {"op": "publish", "id": 0xFFFFFFFF, "topic": "a", "kind": "binary", "payload": ""},
    {"op": "publish", "id": 7, "topic": "t" * 255, "kind": "binary", "key": "k" * 128, "payload": "00ff" * 100},
    {"op": "auth", "id": 8, "token": "x.y.z"},
    {"op": "ping", "id": 9},
    {"op": "hello", "server": "shoald/0.1.0", "node": "reef", "session": "0-1-2", "payload_bytes_max": 1048576,
     "subscriptions_max": 1000, "heartbeat_interval_ms": 30000, "idempotency_ms": 300000, "time_ms": 1763700000000,
     "instance": "00112233445566ff"},
    {"op": "hello", "server": "shoald/0.1.0", "node": "", "session": "0-1-2", "payload_bytes_max": 1048576,
     "subscriptions_max": 1000, "heartbeat_interval_ms": 30000, "idempotency_ms": 300000, "time_ms": 1763700000000,
     "instance": "00112233445566ff", "federation": "ffeeddccbbaa9988"},
    {"op": "ok", "id": 3, "epoch": EPOCH, "offset": 41, "recovered": True, "time_ms": 1763700000000},
    {"op": "ok", "id": 4, "epoch": EPOCH, "offset": 90, "recovered": False, "time_ms": 1763700000000},
    {"op": "ok", "id": 8, "time_ms": 1763700000000},
    {"op": "ack", "id": 5, "count": 1, "epoch": EPOCH, "offset": 42},
    {"op": "ack", "id": 100, "count": 1000, "epoch": EPOCH, "offset": 2**53},
    {"op": "error", "id": 5, "code": "busy"},
    {"op": "error", "id": 0, "code": "message_invalid"},
    {"op": "message", "topic": "demo/hello", "epoch": EPOCH, "offset": 42, "time_ms": 1763700000000, "kind": "text",
     "payload": b"hello, world".hex()},
    {"op": "message", "topic": "käse", "epoch": EPOCH, "offset": 1, "time_ms": 0, "kind": "binary", "payload": ""},
    {"op": "gap", "topic": "demo/hello", "epoch": EPOCH, "from": 42, "to": 90, "reason": "expired"},
    {"op": "gap", "topic": "demo/#", "epoch": "0000000000000001", "from": 1, "to": 2, "reason": "slow"},
    {"op": "pong", "id": 9, "time_ms": 1763700000000},
]

if __name__ == "__main__":
    rows = [json.dumps({**v, "hex": WRITERS[v["op"]](v).hex()}, ensure_ascii=False) for v in VECTORS]
    print('{"dialect": "shoal.v1.bin", "vectors": [\n' + ",\n".join(rows) + "\n]}")
