"""A clean history passes; every seeded violation is caught, and by exactly the invariant it belongs to."""

import copy
import json
import pathlib
import tempfile
import unittest

from . import history, invariants
from .observed import Observed

GROUP, DIRECT = "group-1", "direct-ab"


class Scene:
    """Three users: A on two devices, B and C on one each; a group of all three, out of which C is removed, and a direct conversation of A and B."""

    def __init__(self):
        self.t = 0.0
        self.devices = {name: history.Device(name[0], name, []) for name in ("a1", "a2", "b1", "c1")}
        self.members = {GROUP: ["a1", "a2", "b1", "c1"], DIRECT: ["a1", "a2", "b1"]}
        self.seqs = {GROUP: 0, DIRECT: 0}
        self.numbers = {GROUP: 0, DIRECT: 0}
        self.rows = []
        self.faults = []
        self.acks = 0

    def line(self, device, f, **fields):
        self.t += 0.01
        line = {"t": round(self.t, 3), "f": f, **fields}
        self.devices[device].lines.append(line)
        return line

    def event(self, by, conversation, kind, id_, body=None, **extra):
        self.seqs[conversation] += 1
        seq = self.seqs[conversation]
        number = 0
        if kind == "message":
            self.numbers[conversation] += 1
            number = self.numbers[conversation]
        event = {"conversation": conversation, "seq": seq, "number": number, "sender": by[0], "id": id_, "time": 1000 + seq, "chain": f"{conversation}-{seq}",
                 "kind": kind, "body": body, **extra}
        self.rows.append({key: event[key] for key in ("conversation", "seq", "number", "sender", "id", "time", "chain")} | {
            "partition": 0 if conversation == GROUP else 1, "offset": seq + 10})
        for device in self.members[conversation]:
            if device != by:
                self.line(device, "event", via="live", taken=True, **event)
        return event

    def send(self, by, conversation, id_):
        self.line(by, "send", type="invoke", conversation=conversation, id=id_, body=f"hash-{id_}", 
                  **({"to": "ba"[by[0] == "b"]} if conversation == DIRECT else {}))
        event = self.event(by, conversation, "message", id_, f"hash-{id_}")
        self.acks += 1
        self.line(by, "send", type="ok", conversation=conversation, id=id_, duplicate=False, **{key: event[key] for key in ("seq", "number", "time", "chain")})

    def operation(self, by, op, id_, **extra):
        self.line(by, "op", type="invoke", op=op, id=id_)
        event = self.event(by, GROUP, "membership", id_, **extra)
        self.line(by, "op", type="ok", conversation=GROUP, id=id_, seq=event["seq"])

    def mark(self, by, conversation, seq, number):
        self.line(by, "markRead", type="invoke", conversation=conversation, op=f"m{seq}", seq=seq)
        self.line(by, "markRead", type="ok", conversation=conversation, op=f"m{seq}", readSeq=seq, readNumber=number)


def clean():
    scene = Scene()
    scene.operation("a1", "createConversation", "op-1", change="created", users=["a", "b", "c"])  # seq 1
    scene.send("a1", GROUP, "m1")  # seq 2, number 1
    scene.send("a1", GROUP, "m2")
    scene.send("b1", GROUP, "m3")  # seq 4: b has seen seq 3
    scene.operation("a1", "removeMembers", "op-2", change="removed", users=["c"])  # seq 5
    scene.members[GROUP].remove("c1")
    scene.send("a2", GROUP, "m4")  # seq 6, number 4
    scene.send("a1", DIRECT, "d1")
    scene.send("b1", DIRECT, "d2")
    scene.send("b1", DIRECT, "d3")
    scene.mark("b1", GROUP, 3, 2)
    scene.mark("b1", GROUP, 4, 3)
    scene.mark("a1", DIRECT, 2, 2)
    scene.faults.append({"t": scene.t + 0.001, "f": "fault", "what": "kill gateway"})
    scene.faults.append({"t": scene.t + 0.002, "f": "heal"})
    scene.t += 31
    for device in ("a1", "a2"):
        scene.line(device, "rest", read={DIRECT: 2}, summaries={DIRECT: {"unread": 1}, GROUP: {"unread": 0}})
    scene.line("b1", "rest", read={GROUP: 4}, summaries={GROUP: {"unread": 1}, DIRECT: {"unread": 0}})
    scene.line("c1", "rest", read={}, summaries={})
    run = history.Run(list(scene.devices.values()), scene.faults, scene.rows, {"events": 9, "messages": 7, "acks": scene.acks})
    return run


def device(run, name):
    return next(d for d in run.devices if d.device == name)


def lines(run, name, f, **match):
    return [line for line in device(run, name).lines if line["f"] == f and all(line.get(k) == v for k, v in match.items())]


def drop(run, name, **match):
    found = lines(run, name, "event", **match)
    assert found, (name, match)
    device(run, name).lines[:] = [line for line in device(run, name).lines if line not in found]


def everywhere(run, conversation, seq):
    return [line for d in run.devices for line in d.lines if line["f"] == "event" and line["conversation"] == conversation and line["seq"] == seq]


def row(run, conversation, seq):
    return next(r for r in run.rows if r["conversation"] == conversation and r["seq"] == seq)


def append_event(run, names, stored=True, **fields):
    """An event at the end, for each of these devices, and in PostgreSQL."""
    event = {"conversation": DIRECT, "seq": 4, "number": 4, "sender": "a", "id": "x", "time": 1004, "chain": "c4", "kind": "message", "body": "hash-x"} | fields
    for name in names:
        lines_ = device(run, name).lines
        lines_.insert(len(lines_) - 1, {"t": lines_[-1]["t"], "f": "event", "via": "live", "taken": True, **event})
    if stored:
        run.rows.append({key: event[key] for key in ("conversation", "seq", "number", "sender", "id", "time", "chain")} | {
            "partition": 1, "offset": 100 + event["seq"]})
    run.counters = None
    for d in run.devices:
        for line in d.lines:
            if line["f"] == "rest":
                line["summaries"] = {}


class CleanHistory(unittest.TestCase):
    def test_passes(self):
        self.assertEqual(invariants.check(Observed(clean())), {})

    def test_round_trip_through_files(self):
        run = clean()
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder)
            for d in run.devices:
                head = {"f": "device", "user": d.user, "device": d.device}
                (path / f"{d.device}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [head, *d.lines]) + '{"t": 1, "f": "eve')
            (path / "faults.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [{"f": "faults"}, *run.faults]))
            (path / "rows.json").write_text(json.dumps(run.rows))
            loaded = history.load(path)
        self.assertEqual(sorted(map(repr, loaded.devices)), sorted(map(repr, run.devices)))
        self.assertEqual((loaded.faults, loaded.rows), (run.faults, run.rows))

    def test_refused_then_answered_again_is_clean(self):
        """A temporary nack leaves the outcome open (D58): acked as a duplicate, or there without an ack, is no violation."""
        run = clean()
        sends = device(run, "a1").lines
        at = sends.index(lines(run, "a1", "send", type="ok", id="m1")[0])
        invoke = lines(run, "a1", "send", type="invoke", id="m1")[0]
        sends[at:at] = [{"t": sends[at]["t"], "f": "send", "type": "info", "conversation": GROUP, "id": "m1", "code": "unavailable"},
                        dict(invoke, t=sends[at]["t"])]
        self.assertEqual(invariants.check(Observed(run)), {})


    def test_a_refusal_lost_while_its_sender_was_outside(self):
        """Sent by c while he was removed, refused, the answer lost; added again, his next one taken; then the first one, sent again."""
        scene, run = Scene(), None
        scene.operation("a1", "createConversation", "op-1", change="created", users=["a", "b", "c"])
        scene.operation("a1", "removeMembers", "op-2", change="removed", users=["c"])
        scene.members[GROUP].remove("c1")
        scene.send("a1", GROUP, "m0")
        refused = {"type": "invoke", "conversation": GROUP, "id": "m1", "body": "hash-m1"}
        scene.line("c1", "send", **refused)
        scene.members[GROUP].append("c1")
        scene.operation("a1", "addMembers", "op-3", change="added", users=["c"])
        scene.send("c1", GROUP, "m2")
        scene.send("c1", GROUP, "m1")
        for name in scene.devices:
            scene.line(name, "rest", read={}, summaries={})
        run = history.Run(list(scene.devices.values()))
        self.assertEqual(invariants.check(Observed(run)), {})

    def test_notes_to_oneself_on_the_only_device(self):
        """Nobody but the sender can hold them, and he knows them by their acks."""
        run = clean()
        run.devices[:] = [d for d in run.devices if d.device in ("c1",)]
        c = device(run, "c1")
        c.lines[:] = [{"t": 1, "f": "send", "type": "invoke", "conversation": "self-c", "id": "s1", "body": "h", "to": "c"},
                      {"t": 2, "f": "send", "type": "ok", "conversation": "self-c", "id": "s1", "seq": 1, "number": 1, "time": 5, "chain": "x", "duplicate": False},
                      {"t": 3, "f": "rest", "read": {}, "summaries": {"self-c": {"unread": 0}}}]
        run.faults, run.counters = [], None
        run.rows = [{"conversation": "self-c", "seq": 1, "number": 1, "sender": "c", "id": "s1", "time": 5, "chain": "x", "partition": 0, "offset": 1}]
        self.assertEqual(invariants.check(Observed(run)), {})
        run.rows = []
        self.assertEqual(set(invariants.check(Observed(run))), {"I14"})


class SeededViolations(unittest.TestCase):
    def caught_by(self, run, *names):
        found = invariants.check(Observed(run))
        self.assertEqual(set(found), set(names), found)

    def setUp(self):
        self.run_ = clean()

    # I1
    def test_acked_message_missing_at_another_user(self):
        drop(self.run_, "b1", conversation=GROUP, seq=3)
        self.caught_by(self.run_, "I1")

    def test_acked_message_missing_everywhere(self):
        for name in ("a2", "b1"):
            drop(self.run_, name, conversation=GROUP, seq=2)
        drop(self.run_, "c1", conversation=GROUP, seq=2)
        self.run_.rows.remove(row(self.run_, GROUP, 2))
        self.caught_by(self.run_, "I1")

    # I2
    def test_message_nobody_sent(self):
        append_event(self.run_, ("a1", "a2", "b1"))
        self.caught_by(self.run_, "I2")

    def test_body_that_was_not_sent(self):
        for line in everywhere(self.run_, GROUP, 2):
            line["body"] = "other"
        self.caught_by(self.run_, "I2")

    def test_refused_for_good_and_there_all_the_same(self):
        ok = lines(self.run_, "b1", "send", type="ok", id="d3")[0]
        ok.clear()
        ok.update({"t": 0.5, "f": "send", "type": "fail", "conversation": DIRECT, "id": "d3", "code": "blocked"})
        append_event(self.run_, (), stored=False)
        lines_ = device(self.run_, "b1").lines
        lines_.insert(-1, dict(everywhere(self.run_, DIRECT, 3)[0], t=lines_[-1]["t"]))
        self.caught_by(self.run_, "I2")

    def test_operation_nobody_asked_for(self):
        append_event(self.run_, ("a1", "a2", "b1"), conversation=GROUP, seq=7, number=0, kind="membership", id="op-9", body=None, change="role", users=["b"], time=1007)
        self.caught_by(self.run_, "I2")

    # I3
    def test_two_seqs_for_one_id(self):
        append_event(self.run_, ("a1", "a2", "b1"), id="d1", body="hash-d1")
        self.caught_by(self.run_, "I3")

    def test_shown_twice(self):
        lines_ = device(self.run_, "b1").lines
        lines_.append(dict(lines(self.run_, "b1", "event", conversation=GROUP, seq=6)[0], t=lines_[-1]["t"]))
        self.caught_by(self.run_, "I3")

    # I4
    def test_two_devices_differ_in_chain(self):
        lines(self.run_, "a2", "event", conversation=GROUP, seq=4)[0]["chain"] = "forged"
        self.caught_by(self.run_, "I4")

    def test_time_runs_backwards(self):
        for line in everywhere(self.run_, GROUP, 5):
            line["time"] = 1
        row(self.run_, GROUP, 5)["time"] = 1
        self.caught_by(self.run_, "I4")

    def test_shown_out_of_order(self):
        lines_ = device(self.run_, "c1").lines
        lines_[1], lines_[2] = lines_[2], lines_[1]
        self.caught_by(self.run_, "I4")

    # I5
    def test_seq_left_out(self):
        append_event(self.run_, ("a1", "a2", "b1"), conversation=GROUP, seq=8, number=0, kind="membership", id="op-1", change="role", users=["b"], time=1008, body=None)
        # the same id twice would be I3's: this one was asked for under an id of its own
        for line in everywhere(self.run_, GROUP, 8) + [row(self.run_, GROUP, 8)]:
            line["id"] = "op-3"
        device(self.run_, "a1").lines.insert(0, {"t": 0, "f": "op", "type": "invoke", "op": "setRole", "id": "op-3"})
        self.caught_by(self.run_, "I5")

    def test_wrong_number(self):
        for line in everywhere(self.run_, DIRECT, 3) + lines(self.run_, "b1", "send", type="ok", id="d3") + [row(self.run_, DIRECT, 3)]:
            line["number"] = 7
        for d in self.run_.devices:
            for line in d.lines:
                if line["f"] == "rest":
                    line["summaries"] = {}
        self.caught_by(self.run_, "I5")

    def test_hole_at_a_device(self):
        drop(self.run_, "b1", conversation=GROUP, seq=5)
        self.caught_by(self.run_, "I5")

    # I6
    def test_sends_change_places(self):
        lines_ = device(self.run_, "b1").lines
        second = lines(self.run_, "b1", "send", type="invoke", id="d3")[0]
        lines_.remove(second)
        lines_.insert(0, dict(second, t=0))
        self.caught_by(self.run_, "I6")

    def test_write_before_what_was_read(self):
        lines_ = device(self.run_, "b1").lines
        later = lines(self.run_, "b1", "event", conversation=GROUP, seq=5)[0]
        moved = lines(self.run_, "b1", "send", id="m3")
        lines_[:] = [line for line in lines_ if line not in moved]
        lines_[lines_.index(later) + 1:lines_.index(later) + 1] = [dict(line, t=later["t"]) for line in moved]
        self.caught_by(self.run_, "I6")

    # I7
    def test_ack_with_another_seq(self):
        lines(self.run_, "a1", "send", type="ok", id="m2")[0]["seq"] = 2
        self.caught_by(self.run_, "I7")

    def test_retry_answered_differently(self):
        lines_ = device(self.run_, "a1").lines
        ok = lines(self.run_, "a1", "send", type="ok", id="m2")[0]
        lines_.insert(lines_.index(ok) + 1, dict(ok, duplicate=True, time=1))
        self.run_.counters = None
        self.caught_by(self.run_, "I7")

    # I8
    def test_read_mark_goes_back(self):
        lines(self.run_, "b1", "markRead", type="ok", readSeq=4)[0]["readSeq"] = 2
        lines(self.run_, "b1", "rest")[0]["read"] = {GROUP: 3}
        lines(self.run_, "b1", "rest")[0]["summaries"] = {}
        self.caught_by(self.run_, "I8")

    def test_read_mark_does_not_reach_a_device(self):
        lines(self.run_, "a2", "rest")[0]["read"] = {DIRECT: 1}
        self.caught_by(self.run_, "I8")

    # I9
    def test_wrong_unread(self):
        lines(self.run_, "b1", "rest")[0]["summaries"][GROUP]["unread"] = 2
        self.caught_by(self.run_, "I9")

    # I12
    def test_removed_user_sees_one_more(self):
        lines_ = device(self.run_, "c1").lines
        lines_.insert(-1, dict(lines(self.run_, "b1", "event", conversation=GROUP, seq=6)[0]))
        self.caught_by(self.run_, "I12")

    # I13
    def test_own_device_lacks_own_message(self):
        drop(self.run_, "a2", conversation=DIRECT, seq=1)
        self.caught_by(self.run_, "I13")

    # I14
    def test_row_missing(self):
        self.run_.rows.remove(row(self.run_, GROUP, 4))
        self.caught_by(self.run_, "I14")

    def test_row_twice(self):
        self.run_.rows.append(dict(row(self.run_, GROUP, 4), offset=999))
        self.caught_by(self.run_, "I14")

    def test_row_with_another_chain(self):
        row(self.run_, GROUP, 4)["chain"] = "forged"
        self.caught_by(self.run_, "I14")

    def test_row_nobody_knows(self):
        self.run_.rows.append(dict(row(self.run_, GROUP, 6), seq=7, number=5, id="x", offset=999))
        self.caught_by(self.run_, "I14")

    # I15
    def test_no_answer_after_heal(self):
        ok = lines(self.run_, "b1", "send", type="ok", id="d3")[0]
        ok["t"] = self.run_.faults[-1]["t"] + 30.5
        self.caught_by(self.run_, "I15")

    # I17
    def test_counter_differs(self):
        self.run_.counters = copy.deepcopy(self.run_.counters) | {"acks": 6}
        self.caught_by(self.run_, "I17")


if __name__ == "__main__":
    unittest.main()
