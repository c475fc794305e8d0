"""Writes a device's history as tests/checker reads it (its README has the format)."""

import base64
import hashlib
import json
import time


def digest(content):
    """What stands for a message's content: equal contents, equal digests (defaults may be absent or not)."""

    def bare(value):
        if isinstance(value, dict):
            return {k: bare(v) for k, v in value.items() if v not in ("", 0, False, None, [])}
        return value

    return hashlib.sha256(json.dumps(bare(content), sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]


def chain_hex(text):
    return base64.b64decode(text or "").hex()


class Recorder:
    """path None: keeps the lines in memory only."""

    def __init__(self, path, head):
        self.lines = []
        self.file = open(path, "a", encoding="utf-8", buffering=1) if path else None
        self._put(head)

    def _put(self, line):
        if self.file:
            self.file.write(json.dumps(line) + "\n")
        else:
            self.lines.append(line)

    def __call__(self, f, type_="info", **fields):
        self._put({"t": round(time.monotonic(), 6), "f": f, "type": type_, **fields})

    def close(self):
        if self.file:
            self.file.close()


def event_line(event):
    """The checker's view of an `event` frame."""
    kind = next((k for k in ("message", "edited", "recalled", "reaction", "pinned", "membership", "conversationChanged", "account") if k in event), "")
    line = {"conversation": event["conversation"], "seq": int(event.get("seq", 0)), "number": int(event.get("number", 0)), "sender": event.get("sender", ""),
            "id": event.get("clientMsgId") or event.get("opId") or "", "time": int(event.get("serverTimeMs", 0)), "chain": chain_hex(event.get("chain")),
            "kind": kind, "body": None}
    if kind == "message":
        line["body"] = digest({k: v for k, v in event["message"].items() if k not in ("edited", "recalled", "expired", "expiresAtMs")})
    elif kind == "membership":
        line["change"], line["users"] = event["membership"].get("change"), event["membership"].get("users", [])
    elif kind == "conversationChanged":
        line["dissolved"] = event[kind].get("dissolved", False)
        line["historyForNewMembers"] = event[kind].get("settings", {}).get("historyForNewMembers")
    return line
