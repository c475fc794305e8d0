"""D25-D33, D56: history, marks, resume, freshness."""

import asyncio

from client import wire

from .cases_sending import say_many
from .suite import Skip, case, equal, holds, number


def seqs(page):
    return [number(e, "seq") for e in page.get("events", [])]


async def talk(t, count=10):
    a, b, sa, sb = await t.pair()
    for i in range(count):
        ack = await (sa if i % 2 == 0 else sb).say(f"m{i + 1}", to=(b if i % 2 == 0 else a))
    return a, b, sa, sb, ack["conversation"]


@case("D25", "history: newest, before, after, both; bounds exclusive, pages ascending, more tells of the direction asked")
async def _(t):
    *_, sa, sb, c = await talk(t, 10)
    for fields, expected, more in (
            ({}, range(1, 11), False), ({"limit": 3}, [8, 9, 10], True), ({"limit": 10}, range(1, 11), False),
            ({"beforeSeq": "5"}, [1, 2, 3, 4], False), ({"beforeSeq": "5", "limit": 2}, [3, 4], True), ({"beforeSeq": "1"}, [], False),
            ({"afterSeq": "7"}, [8, 9, 10], False), ({"afterSeq": "7", "limit": 2}, [8, 9], True), ({"afterSeq": "10"}, [], False), ({"afterSeq": "99"}, [], False),
            ({"afterSeq": "3", "beforeSeq": "6"}, [4, 5], False), ({"beforeSeq": "99", "limit": 2}, [9, 10], True), ({"limit": 500}, range(1, 11), False), ({"afterSeq": "0", "limit": 2}, [9, 10], True)):
        page = await sb.history(c, **fields)
        equal((page["conversation"], seqs(page), page.get("more", False)), (c, list(expected), more), str(fields))
    event = (await sa.history(c, limit=1))["events"][0]
    equal((event["message"]["text"]["body"], number(event, "number"), event["conversation"]), ("m10", 10, c))


@case("D25", "a page holds at most 200 events, 50 where nothing is said", encodings=("json",))
async def _(t):
    users = await t.users(6)
    sockets = [await t.connect(u) for u in users]
    group = await t.group(sockets[0], *users[1:])
    await say_many(sockets, group, 210)
    for fields, count in (({}, 50), ({"limit": 200}, 200), ({"limit": 1000}, 200)):
        page = await sockets[1].history(group, **fields)
        equal((len(page["events"]), page.get("more")), (count, True), str(fields))
    first = await sockets[2].history(group, afterSeq="1", limit=200)
    second = await sockets[2].history(group, afterSeq="201", limit=200)
    equal(seqs(first) + seqs(second), list(range(2, 212)))
    equal((first.get("more"), second.get("more", False)), (True, False))


@case("D26", "an ex-member reads what he may see, does nothing else, and is not listed the conversation")
async def _(t):
    a, b, c = await t.users(3)
    sa, sb, sc = await t.connect(a), await t.connect(b, gateway=1), await t.connect(c)
    group = await t.group(sa, b, c)
    await sa.say("two", conversation=group)
    await sa.operate("removeMembers", conversation=group, users=[b.id])  # seq 3
    for i in range(3):
        await sa.say(f"secret {i}", conversation=group)
    equal([number(await sb.event(group), "seq") for _ in range(3)], [1, 2, 3])
    equal(seqs(await sb.history(group)), [1, 2, 3])
    equal(seqs(await sb.history(group, afterSeq="3")), [])
    equal(seqs(await sb.history(group, beforeSeq="99", limit=2)), [2, 3])
    for name, fields in {"send": {"clientMsgId": wire.uuid7(), "text": {"body": "x"}}, "markRead": {"seq": "2"}, "leave": {"opId": wire.uuid7()},
                         "addMembers": {"opId": wire.uuid7(), "users": [b.id]}, "updateConversation": {"opId": wire.uuid7(), "title": "x"}}.items():
        await sb.refused("notMember", name, conversation=group, **fields)
    equal(await sb.summary(group), None)
    again = await t.connect(b, "d2", cursors=[{"conversation": group, "seq": "1"}])
    equal([number(f["event"], "seq") for f in again.inbox if "event" in f], [2, 3])
    await sb.say("fence", to=a)
    holds(not any(f.get("event", {}).get("conversation") == group for f in sb.inbox), "an event beyond the boundary arrived")


@case("D27", "a later member sees from his added event on, on every path")
async def _(t):
    a, b, c = await t.users(3)
    sa, sc = await t.connect(a), await t.connect(c, gateway=1)
    group = await t.group(sa, b)
    await sa.say("before", conversation=group)
    result = await sa.operate("addMembers", conversation=group, users=[c.id])  # seq 3
    equal(number(result, "seq"), 3)
    event = await sc.event(group)
    equal((number(event, "seq"), event["membership"]["change"], event["membership"]["users"], event["sender"]), (3, "added", [c.id], a.id))
    await sa.say("after", conversation=group)
    equal(number(await sc.event(group), "seq"), 4)
    for fields in ({}, {"afterSeq": "1"}, {"beforeSeq": "99"}):
        page = await sc.history(group, **fields)
        equal((seqs(page), page.get("more", False)), ([3, 4], False), str(fields))
    summary = await sc.summary(group)
    equal((number(summary, "firstSeq"), number(summary, "lastSeq"), number(summary, "unread")), (3, 4, 1))  # readNumber starts at the join's lastNumber
    equal(number(await sa.summary(group), "firstSeq"), 1)
    replayed = await t.connect(c, "d2", cursors=[{"conversation": group, "seq": "1"}])
    equal([number(f["event"], "seq") for f in replayed.inbox if "event" in f], [3, 4])


@case("D27", "added again: what may be seen is the union of the stays")
async def _(t):
    a, b = await t.users(2)
    sa, sb = await t.connect(a), await t.connect(b, gateway=1)
    group = await t.group(sa, b)  # 1
    await sa.say("two", conversation=group)
    await sa.operate("removeMembers", conversation=group, users=[b.id])  # 3
    await sa.say("unseen", conversation=group)  # 4
    await sa.operate("addMembers", conversation=group, users=[b.id])  # 5
    await sa.say("six", conversation=group)
    equal([number(await sb.event(group), "seq") for _ in range(5)], [1, 2, 3, 5, 6])
    equal(seqs(await sb.history(group)), [1, 2, 3, 5, 6])
    equal(seqs(await sb.history(group, afterSeq="3")), [5, 6])
    resumed = await t.connect(b, "d2", cursors=[{"conversation": group, "seq": "2"}])
    equal([number(f["event"], "seq") for f in resumed.inbox if "event" in f], [3, 5, 6])


@case("D28", "on resume the marks of the conversations in cursors come before caughtUp")
async def _(t):
    a, b, sa, sb, c = await talk(t, 4)
    await sb.expect("result", "markRead", conversation=c, seq="3")
    socket = await t.open(gateway=1)
    await socket.post({"hello": {"token": a.token, "deviceId": "d9", "cursors": [{"conversation": c, "seq": "4"}]}})
    marks = {}
    while True:
        frame = await socket.take(lambda n, f, _: n in ("marker", "caughtUp", "event"), "marker or caughtUp")
        name, fields = wire.body(frame)
        if name == "caughtUp":
            break
        equal(name, "marker")
        marks[fields["user"]] = (number(fields, "readSeq"), number(fields, "readNumber"))
    equal(marks, {a.id: (3, 3), b.id: (4, 4)})


@case("D29", "an own send moves the sender's read mark; unread is lastNumber - readNumber everywhere")
async def _(t):
    a, b, sa, sb, c = await talk(t, 4)  # the last is b's
    one, two = await sa.summary(c), await sb.summary(c)
    equal((number(one, "lastNumber"), number(one, "readNumber"), number(one, "unread")), (4, 3, 1))
    equal((number(two, "lastNumber"), number(two, "readNumber"), number(two, "unread")), (4, 4, 0))
    equal((number(one, "lastSeq"), one["role"] != ""), (4, True))


@case("D30", "markRead: monotonic, clamped, told to the reader's other connections and to the peer")
async def _(t):
    a, b, sa, sb, c = await talk(t, 6)  # b wrote 2, 4, 6
    other = await t.connect(a, "d2", gateway=1)
    result = await sa.expect("result", "markRead", conversation=c, seq="6")
    equal((result["conversation"], number(result, "readSeq"), number(result, "readNumber")), (c, 6, 6))
    equal(number(await other.next("marker", conversation=c, user=a.id, readSeq="6"), "readNumber"), 6)
    await sb.next("marker", conversation=c, user=a.id, readSeq="6")
    lower = await sa.expect("result", "markRead", conversation=c, seq="2")
    equal((number(lower, "readSeq"), number(lower, "readNumber")), (6, 6))
    beyond = await sb.expect("result", "markRead", conversation=c, seq="999")
    equal((number(beyond, "readSeq"), number(beyond, "readNumber")), (6, 6))
    equal(number(await sa.summary(c), "unread"), 0)


@case("D30", "readNumber is the greatest number at or below readSeq")
async def _(t):
    a, b, sa, sb = await t.pair()
    group = await t.group(sa, b)  # 1, no number
    await sa.say("x", conversation=group)  # 2, number 1
    await sa.operate("updateConversation", conversation=group, title="t2")  # 3
    for seq, expected in ((1, (1, 0)), (2, (2, 1)), (3, (3, 1))):
        result = await sb.expect("result", "markRead", conversation=group, seq=str(seq))
        equal((number(result, "readSeq"), number(result, "readNumber")), expected)


@case("D31", "acks become a delivered mark that the peer is told of within 2 s")
async def _(t):
    a, b, sa, sb, c = await talk(t, 3)
    await sa.say("x", to=b)
    await sb.post({"ack": {"cursors": [{"conversation": c, "seq": "4"}]}})
    marker = await sa.take(lambda n, f, _: n == "marker" and f["user"] == b.id and number(f, "deliveredSeq") >= 4, "marker with deliveredSeq", timeout=4)
    equal(number(marker["marker"], "deliveredSeq"), 4)


@case("resume", "with neither cursors nor token nothing is replayed; cursors:[] is the same")
async def _(t):
    a, b, sa, sb, c = await talk(t, 3)
    for hello in ({}, {"cursors": []}):
        socket = await t.connect(a, "fresh", **hello)
        equal(([wire.body(f)[0] for f in socket.inbox], socket.caught_up.get("changed", [])), ([], []))
        await socket.close()


@case("resume", "cursors bring exactly the later events, in order, own ones too; then live")
async def _(t):
    a, b, sa, sb, c = await talk(t, 8)
    for gateway, device in ((0, "x"), (1, "y")):
        socket = await t.connect(a, device, gateway=gateway, cursors=[{"conversation": c, "seq": "3"}])
        equal([number(f["event"], "seq") for f in socket.inbox if "event" in f], [4, 5, 6, 7, 8])
        nothing = await t.connect(a, device + "2", gateway=gateway, cursors=[{"conversation": c, "seq": "8"}])
        equal([f for f in nothing.inbox if "event" in f], [])
    await sb.say("live", to=a)
    equal([number(await s.event(c), "seq") for s in (nothing,)], [9])


@case("resume", "caughtUp.changed names what changed and is not in cursors: since the token, or all without one")
async def _(t):
    a, b, c = await t.users(3)
    sa, sb, sc = [await t.connect(u, gateway=i) for i, u in enumerate((a, b, c))]
    with_b = (await sb.say("1", to=a))["conversation"]
    with_c = (await sc.say("1", to=a))["conversation"]
    first = await t.connect(a, "d2", cursors=[{"conversation": with_b, "seq": "1"}])
    changed = {s["conversation"]: s for s in first.caught_up.get("changed", [])}
    equal(set(changed), {with_c})
    equal((changed[with_c]["kind"], changed[with_c]["peer"], number(changed[with_c], "lastSeq"), number(changed[with_c], "unread")), ("direct", c.id, 1, 1))
    token = first.caught_up["syncToken"]
    await sc.say("2", to=a)
    second = await t.connect(a, "d3", cursors=[{"conversation": with_b, "seq": "1"}], syncToken=token)
    equal([s["conversation"] for s in second.caught_up.get("changed", [])], [with_c])
    third = await t.connect(a, "d4", syncToken=second.caught_up["syncToken"])
    equal(third.caught_up.get("changed", []), [])
    fourth = await t.connect(a, "d5", syncToken=token)
    equal([s["conversation"] for s in fourth.caught_up.get("changed", [])], [with_c])


@case("resume", "a resume on a live socket replays as after hello")
async def _(t):
    a, b, sa, sb, c = await talk(t, 6)
    socket = await t.connect(a, "d2")
    for cursor, expected in ((2, [3, 4, 5, 6]), (6, [])):
        socket.inbox.clear()
        await socket.post({"resume": {"cursors": [{"conversation": c, "seq": str(cursor)}]}})
        await t.caught_up(socket)
        equal([number(f["event"], "seq") for f in socket.inbox if "event" in f], expected)
    await sb.say("live", to=a)
    await socket.take(lambda n, f, _: n == "event" and number(f, "seq") == 7, "the live event after it")


@case("D32", "cursors of unknown and foreign conversations are ignored")
async def _(t):
    a, b, sa, sb, c = await talk(t, 2)
    stranger = await t.user()
    socket = await t.connect(stranger, cursors=[{"conversation": c, "seq": "0"}, {"conversation": wire.uuid7(), "seq": "5"}, {"conversation": c, "seq": "1"}])
    equal(([f for f in socket.inbox], socket.caught_up.get("changed", [])), ([], []))


@case("D32", "a cursor ahead of the log: resync cursorAhead, then caughtUp")
async def _(t):
    a, b, sa, sb, c = await talk(t, 2)
    socket = await t.connect(a, "d2", cursors=[{"conversation": c, "seq": "99"}])
    equal([f["resync"]["reason"] for f in socket.inbox if "resync" in f], ["cursorAhead"])
    equal([f for f in socket.inbox if "event" in f], [])


@case("D32", "resumeEvents are replayed, one more is resync tooManyEvents; replay pauses at 200 until acked", encodings=("json",))
async def _(t):
    users = await t.users(8)
    sockets = [await t.connect(u, gateway=i) for i, u in enumerate(users)]
    most = sockets[0].welcome["limits"]["resumeEvents"]
    if most > 400:
        raise Skip(f"resumeEvents is {most}")
    group = await t.group(sockets[0], *users[1:])
    await say_many(sockets, group, most)  # with the created event: one more than resumeEvents
    reader = users[3]
    socket = await t.connect(reader, "all", cursors=[{"conversation": group, "seq": "1"}], wait=False)
    got = []
    while len(got) < most:
        event = await socket.event(group)
        got.append(number(event, "seq"))
        if len(got) == 200 and most > 200:
            await asyncio.sleep(0.3)
            holds(not any("event" in f for f in socket.inbox), "more than 200 replayed events without an ack")
            await socket.post({"ack": {"cursors": [{"conversation": group, "seq": str(got[-1])}]}})
    await t.caught_up(socket)
    equal(got, list(range(2, most + 2)))
    socket = await t.connect(reader, "too-many", cursors=[{"conversation": group, "seq": "0"}, {"conversation": wire.uuid7(), "seq": "1"}])
    resync = [f["resync"] for f in socket.inbox if "resync" in f]
    holds(resync, f"no resync but {[wire.body(f)[0] for f in socket.inbox][:5]}")
    equal(resync[0]["reason"], "tooManyEvents")
    equal([s["conversation"] for s in resync[0].get("conversations", [])], [group])
    equal([f for f in socket.inbox if "event" in f], [])
    await sockets[0].say("live", conversation=group)
    equal(number(await socket.event(group), "seq"), most + 2)


@case("D33", "what was acked on one gateway is in every read on any other at once")
async def _(t):
    a, b, sa, sb = await t.pair()
    for i in range(1, 13):
        ack = await sa.say(f"{i}", to=b)
        c = ack["conversation"]
        page, summary, mark = await asyncio.gather(sb.history(c, limit=1), sb.summary(c), sb.expect("result", "markRead", conversation=c, seq=ack["seq"]))
        equal((seqs(page), number(summary, "lastSeq"), number(mark, "readSeq")), ([i], i, i))
        equal(number(await sa.expect("result", "markRead", conversation=c, seq="1"), "readSeq"), i)
    resumed = await t.connect(b, "d2", gateway=1, cursors=[{"conversation": c, "seq": "11"}])
    equal([number(f["event"], "seq") for f in resumed.inbox if "event" in f], [12])


@case("D33", "no hole between replay and live while others write; repeats only of what came already (R26)", encodings=("json",))
async def _(t):
    a, b, sa, sb, c = await talk(t, 2)

    async def write():
        for i in range(60):
            got, _ = await sb.ask("send", directTo=a.id, clientMsgId=wire.uuid7(), text={"body": f"{i}"})
            if got != "sendAck":
                await asyncio.sleep(0.1)

    writer = asyncio.create_task(write())
    try:
        at = 2
        for round_ in range(8):
            socket = await t.connect(a, f"r{round_}", gateway=round_, cursors=[{"conversation": c, "seq": str(at)}])
            for _ in range(5):
                seq = number(await socket.event(c), "seq")
                holds(seq <= at + 1, f"round {round_}: seq {seq} after {at}")
                at = max(at, seq)
            await socket.close()
    finally:
        writer.cancel()


@case("D56", "markRead beyond what one may see is clamped into it")
async def _(t):
    a, b, c = await t.users(3)
    sa, sc = await t.connect(a), await t.connect(c, gateway=1)
    group = await t.group(sa, b)
    for i in range(3):
        await sa.say(f"{i}", conversation=group)  # 2-4, numbers 1-3
    await sa.operate("addMembers", conversation=group, users=[c.id])  # 5
    result = await sc.expect("result", "markRead", conversation=group, seq="2")
    holds(number(result, "readSeq") >= 4 and number(result, "readNumber") == 3, f"{result}")
    equal(number(await sc.summary(group), "unread"), 0)


@case("conversations", "listed newest activity first, paged by cursor, once each")
async def _(t):
    a, *others = await t.users(6)
    sa = await t.connect(a)
    made = []
    for other in others:
        made.append((await sa.say("x", to=other))["conversation"])
    made.append(await t.group(sa, others[0]))
    made.remove(made[0])
    made.append((await sa.say("again", to=others[0]))["conversation"])
    listed, cursor = [], ""
    while True:
        page = await sa.expect("conversationPage", "conversations", limit=2, **({"cursor": cursor} if cursor else {}))
        holds(len(page.get("items", [])) <= 2, "a page longer than asked")
        listed += [s["conversation"] for s in page.get("items", [])]
        cursor = page.get("nextCursor", "")
        if not cursor:
            break
    equal(listed, made[::-1])
