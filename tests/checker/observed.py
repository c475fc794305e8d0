"""What a run shows when all devices are laid side by side: the log of each conversation, who may see what, and what each
device holds. The invariants are stated over this."""

from collections import defaultdict
from dataclasses import dataclass, field

OPEN = float("inf")

# What must be equal wherever the same (conversation, seq) is seen.
IDENTITY = ("sender", "id", "number", "time", "chain", "kind", "body")


@dataclass
class Send:
    """One clientMsgId of one user in one conversation, over all transmissions."""

    conversation: str
    user: str
    device: object
    id: str
    body: str
    transmissions: int = 0
    acks: list = field(default_factory=list)  # `ok` lines
    failed: str | None = None  # the code of a final nack that answered the last transmission
    open_outcome: bool = False  # a transmission ended without a certain answer
    sent_at: float = 0.0
    settled_at: float | None = None


class Observed:
    def __init__(self, run):
        self.run = run
        self.users = {device.user for device in run.devices}
        self.sends = {}  # (conversation, user, id) -> Send
        self.ops = {}  # (user, id) -> {"acks": [...], "kind": ...}
        self.sightings = defaultdict(lambda: defaultdict(list))  # conversation -> seq -> [(device, event line)]
        self.log = defaultdict(dict)  # conversation -> seq -> event line (the first sighting)
        self.by_id = defaultdict(set)  # (conversation, sender, id) -> seqs
        self.direct = {}  # conversation -> the two users
        self.final = {}  # device name -> `rest` line
        self.missing = None  # worked out once, by the first invariant that asks
        for device in run.devices:
            self._read(device)
        self._add_ack_only()
        self.stays = {conversation: self._stays_of(conversation) for conversation in self.log}

    # ---- reading ----

    def _read(self, device):
        for line in device.lines:
            f, kind = line["f"], line.get("type")
            if f == "event":
                self._see(device, line)
            elif f == "send":
                self._send(device, kind, line)
            elif f == "op":
                entry = self.ops.setdefault((device.user, line["id"]), {"acks": [], "kind": None})
                if kind == "invoke":
                    entry["kind"] = line["op"]
                elif kind == "ok":
                    entry["acks"].append(line)
            elif f == "rest":
                self.final[device.name] = line

    def _send(self, device, kind, line):
        key = (line["conversation"], device.user, line["id"])
        if kind == "invoke":
            send = self.sends.get(key)
            if send is None:
                send = self.sends[key] = Send(line["conversation"], device.user, device, line["id"], line["body"], sent_at=line["t"])
            elif send.failed is None and not send.acks:
                send.open_outcome = True  # sent again: the one before it went unanswered
            send.transmissions += 1
            send.failed = None
            if line.get("to"):
                self.direct[line["conversation"]] = {device.user, line["to"]}
            return
        send = self.sends.get(key)
        if send is None:
            return  # an answer to something never asked: the phantom check sees its event, if there is one
        if kind == "ok":
            send.acks.append(line)
            send.settled_at = send.settled_at or line["t"]
        elif kind == "seen":
            send.settled_at = send.settled_at or line["t"]
        elif kind == "fail":
            send.failed = line["code"]
            send.settled_at = send.settled_at or line["t"]
        else:
            send.open_outcome = send.open_outcome or line.get("code") not in ("rateLimited", "outOfTurn")

    def _see(self, device, line):
        conversation, seq = line["conversation"], line["seq"]
        self.sightings[conversation][seq].append((device, line))
        self.log[conversation].setdefault(seq, line)
        if line.get("id"):
            self.by_id[conversation, line["sender"], line["id"]].add(seq)

    def _add_ack_only(self):
        """An acked message that nobody saw still has its place."""
        for (conversation, user, id_), send in self.sends.items():
            if send.acks and not self.by_id[conversation, user, id_]:
                ack = send.acks[0]
                if ack["seq"] not in self.log[conversation]:
                    self.log[conversation][ack["seq"]] = {
                        "conversation": conversation, "seq": ack["seq"], "number": ack["number"], "sender": user, "id": id_, "time": ack["time"],
                        "chain": ack["chain"], "kind": "message", "body": send.body, "ack_only": send}
                    self.by_id[conversation, user, id_].add(ack["seq"])

    def expected_elsewhere(self, event):
        """Whether another device at rest should hold what only its sender knows, by its ack. (One's own notes, on the only device: no.)"""
        send = event["ack_only"]
        return any(d is not send.device and d.name in self.final and self.may_see(d.user, send.conversation, event["seq"]) for d in self.run.devices)

    # ---- who may see what ----

    def _stays_of(self, conversation):
        """user -> [[from, to], ...], as the membership events tell (I12)."""
        if conversation in self.direct:
            return {user: [[1, OPEN]] for user in self.direct[conversation]}
        stays = defaultdict(list)
        open_past = False
        for seq in sorted(self.log[conversation]):
            event = self.log[conversation][seq]
            change, users = event.get("change"), event.get("users", [])
            if change in ("created", "added", "joined"):
                for user in users:
                    if not stays[user] or stays[user][-1][1] != OPEN:
                        stays[user].append([1 if open_past else seq, OPEN])
            elif change in ("left", "removed"):
                for user in users:
                    if stays[user] and stays[user][-1][1] == OPEN:
                        stays[user][-1][1] = seq
            if event.get("dissolved"):
                for intervals in stays.values():
                    if intervals and intervals[-1][1] == OPEN:
                        intervals[-1][1] = seq
            if event.get("historyForNewMembers") is not None:
                open_past = event["historyForNewMembers"]
                if open_past:
                    for intervals in stays.values():
                        if intervals and intervals[-1][1] == OPEN:
                            intervals[-1][0] = 1
        return stays

    def may_see(self, user, conversation, seq):
        return any(low <= seq <= high for low, high in self.stays.get(conversation, {}).get(user, []))

    def members(self, conversation):
        return {user for user, intervals in self.stays.get(conversation, {}).items() if intervals and intervals[-1][1] == OPEN}

    # ---- what a device holds ----

    def held(self, device):
        """conversation -> seqs taken as events or known as one's own by their answers."""
        held = defaultdict(set)
        for line in device.lines:
            if line["f"] == "event" and line.get("taken"):
                held[line["conversation"]].add(line["seq"])
            elif line["f"] in ("send", "op") and line.get("type") == "ok" and line.get("seq"):
                # By id, not by the ack's seq: whether that is right is I7's question.
                seqs = self.by_id.get((line["conversation"], device.user, line["id"])) or {line["seq"]}
                held[line["conversation"]].update(seqs)
        return held

    def acked_at(self, conversation, seq):
        """The acked send that sits at this seq, if one does."""
        event = self.log[conversation].get(seq)
        if event is None or event.get("kind") != "message":
            return None
        send = self.sends.get((conversation, event["sender"], event["id"]))
        return send if send and send.acks else None
