"""Frames as both subprotocols write them. In Python a frame is the dict of its canonical JSON; protobuf is turned into that
and back by protobuf's own json_format, so that one test reads both.

protoc's output is made at first use, below build/ (never committed)."""

import fcntl
import hashlib
import importlib
import json
import os
import pathlib
import subprocess
import sys
import time
import uuid

from google.protobuf import json_format

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROTO = "parley/client/v1/client.proto"
SUBPROTOCOLS = {"json": "parley.v1.json", "pb": "parley.v1.pb"}


def _client_pb2():
    out = ROOT / "build" / "py-proto"
    source, made = ROOT / "proto" / PROTO, out / "parley/client/v1/client_pb2.py"
    out.mkdir(parents=True, exist_ok=True)
    with open(out / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several suites may start at once
        if not made.exists() or made.stat().st_mtime < source.stat().st_mtime:
            subprocess.run(["protoc", f"-I{ROOT / 'proto'}", f"--python_out={out}", PROTO], check=True)
    sys.path.insert(0, str(out))
    return importlib.import_module("parley.client.v1.client_pb2")


pb = _client_pb2()


def encode(frame, encoding):
    """The payload of one WebSocket message: str for JSON, bytes for protobuf."""
    if encoding == "json":
        return json.dumps(frame, ensure_ascii=False, separators=(",", ":"))
    return json_format.ParseDict(frame, pb.Frame()).SerializeToString()


def decode(payload, encoding):
    if encoding == "json":
        if not isinstance(payload, str):
            raise ValueError("binary message on the JSON subprotocol")
        return json.loads(payload)
    if isinstance(payload, str):
        raise ValueError("text message on the protobuf subprotocol")
    return json_format.MessageToDict(pb.Frame.FromString(payload))


def body(frame):
    """(name, fields) of a frame's one body; ("", {}) for none."""
    for name, fields in frame.items():
        if name not in ("reqId", "traceparent"):
            return name, fields
    return "", {}


def canonical(frame):
    """The frame as protobuf's json_format prints it: raises if it is no canonical proto3 JSON of a Frame."""
    return json_format.MessageToDict(json_format.ParseDict(frame, pb.Frame()))


def uuid7():
    value = bytearray(int(time.time() * 1000).to_bytes(6, "big") + os.urandom(10))
    value[6] = value[6] & 0x0F | 0x70
    value[8] = value[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(value)))


def uuid8(digest):
    value = bytearray(digest[:16])
    value[6] = value[6] & 0x0F | 0x80
    value[8] = value[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(value)))


def direct_conversation(a, b):
    """D5."""
    low, high = sorted((uuid.UUID(a).bytes, uuid.UUID(b).bytes))
    return uuid8(hashlib.sha256(low + high).digest())


def group_conversation(creator, op_id):
    """D18."""
    return uuid8(hashlib.sha256(uuid.UUID(creator).bytes + uuid.UUID(op_id).bytes).digest())
