"""The invariants of the design (I1...), each a function over an Observed run that yields violations in words.

Every fault is to be found by exactly one of them: checker_test.py seeds each and looks. So each is stated narrowly; where
two could claim the same fault, the comment says who takes it.
"""

from collections import defaultdict

from .observed import IDENTITY

HEAL_LIMIT_S = 30.0


def _brief(conversation, seq=None):
    return conversation if seq is None else f"{conversation} seq {seq}"


def _missing(seen):
    """(device, conversation, seq) that a device at rest should hold and does not."""
    if seen.missing is None:
        seen.missing = []
        for device in seen.run.devices:
            if device.name not in seen.final:
                continue
            held = seen.held(device)
            for conversation, stays in seen.stays.items():
                if device.user in stays:
                    seen.missing.extend((device, conversation, seq) for seq in seen.log[conversation]
                                        if seq not in held[conversation] and seen.may_see(device.user, conversation, seq))
    return seen.missing


def _nobody_saw(seen, conversation, seq):
    return not seen.sightings[conversation].get(seq)


def i1_no_acked_message_lost(seen):
    """Lost for everyone, or for a device of somebody else. (The sender's own devices: I13. PostgreSQL: I14.)"""
    told = set()
    for conversation, log in seen.log.items():
        for seq, event in log.items():
            if event.get("ack_only") and seen.expected_elsewhere(event):
                told.add((conversation, seq))
                yield f"{_brief(conversation, seq)}: {event['id']} of {event['sender']} was acked and nobody has it"
    for device, conversation, seq in _missing(seen):
        send = seen.acked_at(conversation, seq)
        if send and send.user != device.user and (conversation, seq) not in told:
            yield f"{_brief(conversation, seq)}: acked to {send.user}, missing at {device.name}"


def i2_no_phantom(seen):
    for conversation, log in seen.log.items():
        for seq, event in log.items():
            if event.get("ack_only"):
                continue
            if event["kind"] != "message":
                if event["sender"] in seen.users and (event["sender"], event["id"]) not in seen.ops:
                    yield f"{_brief(conversation, seq)}: {event['kind']} by {event['sender']}, who never asked for it"
                continue
            send = seen.sends.get((conversation, event["sender"], event["id"]))
            if send is None:
                yield f"{_brief(conversation, seq)}: message {event['id']} of {event['sender']} was never sent"
            elif event["body"] != send.body:
                yield f"{_brief(conversation, seq)}: message {event['id']} has a body that was not sent"
            elif send.failed and not send.open_outcome and not send.acks:
                yield f"{_brief(conversation, seq)}: message {event['id']} was refused for good ({send.failed}) and is there all the same"


def i3_no_visible_duplicate(seen):
    for (conversation, sender, id_), seqs in seen.by_id.items():
        if len(seqs) > 1:
            yield f"{conversation}: {id_} of {sender} has seqs {sorted(seqs)}"
    for device in seen.run.devices:
        taken = defaultdict(set)
        ids = defaultdict(dict)
        for line in device.lines:
            if line["f"] != "event":
                continue
            conversation, seq = line["conversation"], line["seq"]
            if line.get("taken"):
                if seq in taken[conversation]:
                    yield f"{_brief(conversation, seq)}: shown twice at {device.name}"
                taken[conversation].add(seq)
            if ids[conversation].setdefault(seq, line.get("id")) != line.get("id"):
                yield f"{_brief(conversation, seq)}: two ids at {device.name}"


def i4_one_total_order(seen):
    """What stands at a seq is the same for everyone, and time does not run backwards along it. (Two ids at one seq on one device: I3.)"""
    for conversation, by_seq in seen.sightings.items():
        for seq, sightings in by_seq.items():
            first_device, first = sightings[0]
            for device, line in sightings[1:]:
                differs = [key for key in IDENTITY if line.get(key) != first.get(key)]
                if differs and not (device is first_device and "id" in differs):
                    yield f"{_brief(conversation, seq)}: {first_device.name} and {device.name} differ in {', '.join(differs)}"
                    break
        last = 0
        for seq in sorted(seen.log[conversation]):
            time = seen.log[conversation][seq]["time"]
            if time < last:
                yield f"{_brief(conversation, seq)}: its time is before that of the one before it"
            last = max(last, time)
    for device in seen.run.devices:
        last = {}
        for line in device.lines:
            if line["f"] == "event" and line.get("taken"):
                if line["seq"] < last.get(line["conversation"], 0):
                    yield f"{_brief(line['conversation'], line['seq'])}: shown after seq {last[line['conversation']]} at {device.name}"
                last[line["conversation"]] = max(line["seq"], last.get(line["conversation"], 0))


def i5_seq_contiguous(seen):
    """No hole in the log, and none at a device at rest. (A hole where an acked message should be: I1, I13.)"""
    for conversation, log in seen.log.items():
        holes = sorted(set(range(1, max(log) + 1)) - set(log))
        if holes:
            yield f"{conversation}: nobody saw seq {holes[:10]}"
        number = 0
        for seq in sorted(log):
            if log[seq]["kind"] == "message":
                number += 1
                if log[seq]["number"] != number and not holes:
                    yield f"{_brief(conversation, seq)}: number {log[seq]['number']}, expected {number}"
                    number = log[seq]["number"]
            elif log[seq].get("number"):
                yield f"{_brief(conversation, seq)}: a {log[seq]['kind']} event has a number"
    for device, conversation, seq in _missing(seen):
        if not seen.acked_at(conversation, seq):
            yield f"{_brief(conversation, seq)}: hole at {device.name}"


def i6_fifo_and_causality(seen):
    """In the order of first transmission, and after everything the device had seen. Excused: a send that met its sender outside the conversation, whose
    refusal was lost with a connection, and which was taken when sent again: those behind it may stand before it."""
    for device in seen.run.devices:
        last_sent = {}  # conversation -> (seq, id)
        newest_seen = defaultdict(int)
        floor = {}  # id -> newest seq seen when it was first sent
        order = []
        for line in device.lines:
            if line["f"] == "event" and line.get("taken"):
                newest_seen[line["conversation"]] = max(newest_seen[line["conversation"]], line["seq"])
            elif line["f"] == "send" and line.get("type") == "invoke" and line["id"] not in floor:
                floor[line["id"]] = newest_seen[line["conversation"]]
                order.append((line["conversation"], line["id"]))
        for conversation, id_ in order:
            seqs = seen.by_id.get((conversation, device.user, id_))
            if not seqs:
                continue
            seq = min(seqs)
            before, before_id = last_sent.get(conversation, (0, ""))
            if seq < before:
                if not any(not seen.may_see(device.user, conversation, between) for between in range(floor[before_id] + 1, seq)):
                    yield f"{_brief(conversation, seq)}: {id_} of {device.name} was sent after {before_id} and stands before it"
            elif seq <= floor[id_]:
                yield f"{_brief(conversation, seq)}: {id_} of {device.name} was sent after seq {floor[id_]} was seen there"
            last_sent[conversation] = max((before, before_id), (seq, id_))


def i7_ack_is_what_others_see(seen):
    for (conversation, user, id_), send in seen.sends.items():
        facts = {(ack["seq"], ack["number"], ack["time"], ack["chain"]) for ack in send.acks}
        if len(facts) > 1:
            yield f"{conversation}: {id_} of {user} got different acks: {sorted(facts)}"
            continue
        seqs = seen.by_id.get((conversation, user, id_), set())
        if facts and len(seqs) == 1:
            event = seen.log[conversation][min(seqs)]
            if event["id"] == id_ and facts != {(event["seq"], event["number"], event["time"], event["chain"])}:
                yield f"{conversation}: {id_} of {user} was acked as {min(facts)}, others see seq {event['seq']} number {event['number']}"


def i8_read_cursors(seen):
    """Answers never fall below what was answered before to any device of the user; at rest all his devices know the same mark."""
    answers = defaultdict(list)  # (user, conversation) -> [(invoked, answered, readSeq)]
    for device in seen.run.devices:
        asked = {}
        for line in device.lines:
            if line["f"] != "markRead":
                continue
            if line["type"] == "invoke":
                asked[line["conversation"], line["op"]] = line["t"]
            elif line["type"] == "ok":
                answers[device.user, line["conversation"]].append((asked[line["conversation"], line["op"]], line["t"], line["readSeq"]))
    for (user, conversation), all_of in answers.items():
        all_of.sort()
        done = sorted((answered, seq) for _, answered, seq in all_of)
        best, at = 0, 0
        for invoked, _, seq in all_of:
            while at < len(done) and done[at][0] < invoked:
                best = max(best, done[at][1])
                at += 1
            if seq < best:
                yield f"{conversation}: markRead of {user} answered {seq} after {best}"
    at_rest = defaultdict(dict)
    for device in seen.run.devices:
        for conversation, seq in seen.final.get(device.name, {}).get("read", {}).items():
            at_rest[device.user, conversation][device.name] = seq
    for (user, conversation), by_device in at_rest.items():
        highest = max([seq for _, _, seq in answers.get((user, conversation), [])] + list(by_device.values()))
        behind = {name: seq for name, seq in by_device.items() if seq < highest}
        if behind:
            yield f"{conversation}: read mark {highest} of {user} did not reach {behind}"


def i9_unread(seen):
    """unread = lastNumber - readNumber, both as the observed log and the answered marks give them."""
    for device in seen.run.devices:
        for conversation, summary in seen.final.get(device.name, {}).get("summaries", {}).items():
            log = seen.log.get(conversation)
            if not log or device.user not in seen.members(conversation):
                continue
            last = max((event["number"] for event in log.values() if event.get("number")), default=0)
            joined = seen.stays[conversation][device.user][-1][0]
            read = max((event["number"] for seq, event in log.items() if event.get("number") and seq < joined), default=0)
            for (where, user, _), send in seen.sends.items():
                if where == conversation and user == device.user:
                    for seq in seen.by_id.get((where, user, send.id), ()):
                        read = max(read, log[seq]["number"])
            for other in seen.run.devices:
                if other.user == device.user:
                    for line in other.lines:
                        if line["f"] == "markRead" and line["type"] == "ok" and line["conversation"] == conversation:
                            read = max(read, line["readNumber"])
            if summary["unread"] != last - read:
                yield f"{conversation}: {device.name} was told {summary['unread']} unread, it is {last} - {read}"


def i12_boundaries(seen):
    for conversation, by_seq in seen.sightings.items():
        for seq, sightings in by_seq.items():
            for device, _ in sightings:
                if not seen.may_see(device.user, conversation, seq):
                    yield f"{_brief(conversation, seq)}: seen by {device.name}, who was not there"


def i13_own_devices(seen):
    for device, conversation, seq in _missing(seen):
        send = seen.acked_at(conversation, seq)
        if send and send.user == device.user and not _nobody_saw(seen, conversation, seq):
            yield f"{_brief(conversation, seq)}: sent by {send.device.name}, missing at {device.name}"


def i14_postgres_equals_log(seen):
    if seen.run.rows is None:
        return
    stored = defaultdict(dict)
    places = set()
    for row in seen.run.rows:
        conversation, seq = row["conversation"], row["seq"]
        if seq in stored[conversation]:
            yield f"{_brief(conversation, seq)}: stored twice"
        stored[conversation][seq] = row
        place = (row["partition"], row["offset"])
        if place in places:
            yield f"{_brief(conversation, seq)}: another row has partition {place[0]} offset {place[1]}"
        places.add(place)
    for conversation, log in seen.log.items():
        rows = stored.get(conversation, {})
        for seq, event in log.items():
            row = rows.get(seq)
            if row is None and event.get("ack_only") and seen.expected_elsewhere(event):
                continue  # lost altogether: I1
            if row is None:
                yield f"{_brief(conversation, seq)}: seen by devices, not stored"
                continue
            differs = [key for key in ("sender", "id", "number", "time", "chain") if row.get(key) != event.get(key)]
            if differs:
                yield f"{_brief(conversation, seq)}: stored and seen differ in {', '.join(differs)}"
        for seq in rows:
            if seq not in log:
                yield f"{_brief(conversation, seq)}: stored, and no device at rest knows it"


def i15_acks_after_heal(seen, limit=HEAL_LIMIT_S):
    """Whatever is sent or still open once everything is healed has its answer `limit` later, unless the next fault comes first."""
    marks = sorted(seen.run.faults, key=lambda line: line["t"])
    ends = [line["t"] for device in seen.run.devices for line in device.lines[-1:]]
    for at, heal in enumerate(marks):
        if heal["f"] != "heal":
            continue
        next_fault = next((line["t"] for line in marks[at + 1:] if line["f"] == "fault"), float("inf"))
        deadline = heal["t"] + limit
        if next_fault < deadline or max(ends, default=0) < deadline:
            continue
        for (conversation, user, id_), send in seen.sends.items():
            if send.sent_at <= heal["t"] and (send.settled_at is None or send.settled_at > deadline):
                yield f"{conversation}: {id_} of {user} had no answer {limit:.0f} s after everything was healed"


def i17_counters(seen):
    """The servers' own counts equal what was observed. (Only asked for in runs in which no process was killed: counters restart at 0.)"""
    if seen.run.counters is None:
        return
    observed = {
        "events": sum(len(log) for log in seen.log.values()),
        "messages": sum(1 for log in seen.log.values() for event in log.values() if event["kind"] == "message"),
        "acks": sum(1 for send in seen.sends.values() for ack in send.acks),
    }
    for name, value in seen.run.counters.items():
        if name in observed and observed[name] != value:
            yield f"counter {name}: servers say {value}, observed {observed[name]}"


ALL = {
    "I1": i1_no_acked_message_lost,
    "I2": i2_no_phantom,
    "I3": i3_no_visible_duplicate,
    "I4": i4_one_total_order,
    "I5": i5_seq_contiguous,
    "I6": i6_fifo_and_causality,
    "I7": i7_ack_is_what_others_see,
    "I8": i8_read_cursors,
    "I9": i9_unread,
    "I12": i12_boundaries,
    "I13": i13_own_devices,
    "I14": i14_postgres_equals_log,
    "I15": i15_acks_after_heal,
    "I17": i17_counters,
}


def check(seen, at_most=20):
    """{"I1": [violations...]}; only invariants that are violated."""
    found = {}
    for name, invariant in ALL.items():
        told = []
        for violation in invariant(seen):
            told.append(violation)
            if len(told) == at_most:
                told.append("...")
                break
        if told:
            found[name] = told
    return found
