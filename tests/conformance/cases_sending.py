"""D18-D24, D49, D55, D57, D64, D65: sending, duplicates, order, limits."""

import asyncio
import time

from client import wire

from .suite import Skip, case, equal, holds, number


def facts(ack):
    return {k: ack.get(k) for k in ("conversation", "seq", "number", "clientMsgId", "serverTimeMs", "chain")}


async def say_many(sockets, conversation, count):
    """`count` messages, in turns by these sockets (each within its user's burst)."""
    share = -(-count // len(sockets))

    async def some(socket, how_many):
        for at in range(how_many):
            while True:
                got, body = await socket.ask("send", conversation=conversation, clientMsgId=wire.uuid7(), text={"body": f"m{at}"})
                if got == "sendAck":
                    break
                holds(body.get("code") in ("rateLimited", "outOfTurn"), f"{got} {body}")
                await asyncio.sleep((body.get("retryAfterMs") or 50) / 1000)

    await asyncio.gather(*(some(s, min(share, max(0, count - i * share))) for i, s in enumerate(sockets)))


@case("send", "acks carry contiguous seq and number, a chain and the log's time; the peer sees the same")
async def _(t):
    a, b, sa, sb = await t.pair()
    acks = [await sa.say(f"m{i}", to=b) for i in range(5)]
    equal([(number(k, "seq"), number(k, "number")) for k in acks], [(i, i) for i in range(1, 6)])
    holds(len({k["chain"] for k in acks}) == 5 and all(len(k["chain"]) >= 20 for k in acks), "chains")
    for ack in acks:
        event = await sb.event(ack["conversation"])
        equal({k: event.get(k) for k in facts(ack)}, facts(ack))
    times = [number(k, "serverTimeMs") for k in acks]
    holds(times == sorted(times) and abs(times[0] - time.time() * 1000) < 60_000, f"{times}")  # D20


@case("send", "pipelined sends keep their order, and acks and events come in seq order")
async def _(t):
    a, b, sa, sb = await t.pair()
    ids = [wire.uuid7() for _ in range(30)]
    for at, id_ in enumerate(ids):
        await sa.post({"reqId": 100 + at, "send": {"directTo": b.id, "clientMsgId": id_, "text": {"body": str(at)}, "turn": 1}})
    acks = [await sa.next("sendAck") for _ in ids]
    equal([(k["clientMsgId"], number(k, "seq")) for k in acks], [(id_, at) for at, id_ in enumerate(ids, 1)])
    events = [await sb.event(acks[0]["conversation"]) for _ in ids]
    equal([e["clientMsgId"] for e in events], ids)


@case("send", "two users writing at once: one order, without holes, the same for every device")
async def _(t):
    a, b = await t.users(2)
    writers = [await t.connect(a, "d1"), await t.connect(b, "d1", gateway=1)]
    readers = [await t.connect(a, "d2", gateway=1), await t.connect(b, "d2")]

    async def write(socket, to):
        return [await socket.say(f"{i}", to=to) for i in range(20)]

    acks = sum(await asyncio.gather(write(writers[0], b), write(writers[1], a)), [])
    conversation = acks[0]["conversation"]
    equal(sorted(number(k, "seq") for k in acks), list(range(1, 41)))
    seen = [[await r.event(conversation) for _ in range(40)] for r in readers]
    for events in seen:
        equal([number(e, "seq") for e in events], list(range(1, 41)))
    equal([e["chain"] for e in seen[0]], [e["chain"] for e in seen[1]])
    equal({k["clientMsgId"]: k["seq"] for k in acks}, {e["clientMsgId"]: e["seq"] for e in seen[0]})


@case("send", "a socket's acks and the other side's events of one conversation interleave in seq order")
async def _(t):
    a, b, sa, sb = await t.pair()
    conversation = (await sa.say(to=b))["conversation"]
    seen = []

    async def write(socket):
        for i in range(15):
            await socket.post({"send": {"conversation": conversation, "clientMsgId": wire.uuid7(), "text": {"body": str(i)}}})

    await asyncio.gather(write(sa), write(sb))
    while len(seen) < 30:
        frame = await sa.take(lambda n, f, _: n in ("sendAck", "event"), "sendAck or event")
        seen.append(number(wire.body(frame)[1], "seq"))
    equal(seen, list(range(2, 32)))


@case("D19", "a flagged resend is answered by the first ack, duplicate, on any gateway; nobody sees it twice")
async def _(t):
    a, b, sa, sb = await t.pair()
    id_ = wire.uuid7()
    first = await sa.say("once", to=b, clientMsgId=id_)
    holds(not first.get("duplicate"), "the first is no duplicate")
    elsewhere = await t.connect(a, "d2", gateway=1)
    for socket in (sa, elsewhere, sa):
        again = await socket.say("once", to=b, clientMsgId=id_, resend=True)
        equal((facts(again), again.get("duplicate")), (facts(first), True))
    last = await sa.say("last", to=b)
    equal(number(last, "seq"), 2)
    equal([number(await sb.event(first["conversation"]), "seq") for _ in range(2)], [1, 2])
    equal([number(e, "seq") for e in (await sb.history(first["conversation"]))["events"]], [1, 2])


@case("D19", "a resend of what never arrived is a first transmission")
async def _(t):
    a, b, sa, sb = await t.pair()
    ack = await sa.say(to=b, resend=True)
    equal((number(ack, "seq"), ack.get("duplicate", False)), (1, False))
    equal((await sb.event(ack["conversation"]))["clientMsgId"], ack["clientMsgId"])


@case("D19", "a resend with another text or replyTo is conflict")
async def _(t):
    a, b, sa, _ = await t.pair()
    first = await sa.say("one", to=b)
    await sa.refused("conflict", "send", directTo=b.id, clientMsgId=first["clientMsgId"], text={"body": "two"}, resend=True)
    await sa.refused("conflict", "send", directTo=b.id, clientMsgId=first["clientMsgId"], text={"body": "one"}, replyTo={"seq": "1"}, resend=True)
    equal(number(await sa.say("three", to=b), "seq"), 2)


@case("D19", "the same clientMsgId of another sender, or in another conversation, does not collide")
async def _(t):
    a, b, sa, sb = await t.pair()
    id_ = wire.uuid7()
    equal(number(await sa.say("a's", to=b, clientMsgId=id_), "seq"), 1)
    equal(number(await sb.say("b's", to=a, clientMsgId=id_, resend=True), "seq"), 2)
    own = await sa.say("elsewhere", to=a, clientMsgId=id_, resend=True)
    equal(own.get("duplicate", False), False)


@case("D19", "a resend of something older than 256 messages is found all the same", encodings=("json",))
async def _(t):
    a, b, c, d = await t.users(4)
    sa, *others = [await t.connect(u) for u in (a, b, c, d)]
    group = await t.group(sa, b, c, d)
    first = await sa.say("old", conversation=group)
    operation = wire.uuid7()
    await sa.operate("updateConversation", conversation=group, opId=operation, title="new title")
    await say_many(others, group, 270)
    sa = await t.connect(a)  # anew: on a slow machine the silence of the first one was longer than its heartbeat allows
    again = await sa.say("old", conversation=group, clientMsgId=first["clientMsgId"], resend=True)
    equal((facts(again), again.get("duplicate")), (facts(first), True))
    result = await sa.operate("updateConversation", conversation=group, opId=operation, title="new title", resend=True)
    equal((number(result, "seq"), result.get("duplicate")), (3, True))
    await sa.refused("conflict", "send", conversation=group, clientMsgId=first["clientMsgId"], text={"body": "other"}, resend=True)


@case("D18", "a resent operation answers with its first seq, duplicate, and makes no second event")
async def _(t):
    a, b, sa, sb = await t.pair()
    op = wire.uuid7()
    first = await sa.operate("createConversation", opId=op, kind="group", title="g", members=[b.id])
    equal(first["conversation"], wire.group_conversation(a.id, op))
    again = await sa.operate("createConversation", opId=op, kind="group", title="g", members=[b.id], resend=True)
    equal((again["conversation"], number(again, "seq"), again.get("duplicate")), (first["conversation"], 1, True))
    group, rename = first["conversation"], wire.uuid7()
    one = await sa.operate("updateConversation", opId=rename, conversation=group, title="h")
    two = await sa.operate("updateConversation", opId=rename, conversation=group, title="h", resend=True)
    equal((number(one, "seq"), number(two, "seq"), two.get("duplicate")), (2, 2, True))
    await sa.refused("conflict", "updateConversation", opId=rename, conversation=group, title="i", resend=True)
    equal([number(e, "seq") for e in (await sb.history(group))["events"]], [1, 2])


@case("D21", "beyond the burst a send is nacked rateLimited, temporary, with retryAfterMs; later it goes through", encodings=("json",))
async def _(t):
    a, b, sa, _ = await t.pair()
    limits = sa.welcome["limits"]
    if not limits.get("sendsPerSecond"):
        raise Skip("sendsPerSecond is off")
    count = limits["sendBurst"] + limits["sendsPerSecond"] * 4
    for at in range(count):
        await sa.post({"reqId": 1000 + at, "send": {"directTo": b.id, "clientMsgId": wire.uuid7(), "text": {"body": str(at)}}})
    answers = [await sa.take(lambda n, f, _: n in ("sendAck", "nack"), "answer") for _ in range(count)]
    nacks = [f["nack"] for f in answers if "nack" in f]
    holds(nacks, f"{count} sends at once, none limited")
    holds(limits["sendBurst"] <= count - len(nacks), f"only {count - len(nacks)} of a burst of {limits['sendBurst']} taken")
    for nack in nacks:  # the one that met the limit, and what waited behind it (R9)
        holds(nack["code"] in ("rateLimited", "outOfTurn") and nack.get("temporary"), f"{nack}")
    nacks = [nack for nack in nacks if nack["code"] == "rateLimited"]
    holds(nacks and all(nack.get("retryAfterMs", 0) > 0 for nack in nacks), "no rateLimited with a retryAfterMs")
    id_ = nacks[0]["clientMsgId"]
    deadline = time.monotonic() + 10
    wait = nacks[0]["retryAfterMs"]
    while True:
        await asyncio.sleep(wait / 1000)
        got, body = await sa.ask("send", directTo=b.id, clientMsgId=id_, text={"body": "again"}, resend=True)
        if got == "sendAck":
            break
        holds(body.get("temporary"), f"{body}")
        holds(time.monotonic() < deadline, "limited for ever")
        wait = body["retryAfterMs"]


@case("D22", "directTo an unknown user is notFound")
async def _(t):
    a, b, sa, _ = await t.pair()
    nack = await sa.refused("notFound", "send", directTo=wire.uuid7(), clientMsgId=(id_ := wire.uuid7()), text={"body": "x"})
    equal((nack.get("clientMsgId"), nack.get("temporary", False)), (id_, False))
    equal(number(await sa.say(to=b), "seq"), 1)


@case("codes", "to a stranger an existing and a missing conversation are both notFound")
async def _(t):
    a, b, c = await t.users(3)
    sa, stranger = await t.connect(a), await t.connect(c, gateway=1)
    group = await t.group(sa, b)
    direct = (await sa.say(to=b))["conversation"]
    for conversation in (group, direct, wire.uuid7()):
        for name, fields in {"send": {"clientMsgId": wire.uuid7(), "text": {"body": "x"}}, "history": {}, "markRead": {"seq": "1"},
                             "addMembers": {"opId": wire.uuid7(), "users": [c.id]}, "removeMembers": {"opId": wire.uuid7(), "users": [a.id]},
                             "leave": {"opId": wire.uuid7()}, "dissolve": {"opId": wire.uuid7()}, "setRole": {"opId": wire.uuid7(), "user": c.id, "role": "owner"},
                             "mute": {"opId": wire.uuid7(), "user": a.id}, "updateConversation": {"opId": wire.uuid7(), "title": "x"}}.items():
            got, nack = await stranger.ask(name, conversation=conversation, **fields)
            equal((got, nack.get("code")), ("nack", "notFound"), f"{name} on {'a missing one' if conversation not in (group, direct) else 'an existing one'}")


@case("D23", "what this server does not do yet is nack unsupported, the socket stays")
async def _(t):
    a, b, sa, _ = await t.pair()
    conversation = (await sa.say(to=b))["conversation"]
    for name in ("edit", "recall", "react", "pin"):
        fields = {"edit": {"text": {"body": "y"}}, "react": {"emoji": "+"}}.get(name, {})
        got, body = await sa.ask(name, conversation=conversation, opId=wire.uuid7(), seq="1", **fields)
        holds(got == "result" or body.get("code") == "unsupported", f"{name}: {got} {body}")
    await sa.alive()


@case("D24", "a replyTo that is no visible message is notFound")
async def _(t):
    a, b, sa, _ = await t.pair()
    conversation = (await sa.say(to=b))["conversation"]
    await sa.refused("notFound", "send", conversation=conversation, clientMsgId=wire.uuid7(), text={"body": "x"}, replyTo={"seq": "99"})
    ack = await sa.expect("sendAck", "send", conversation=conversation, clientMsgId=wire.uuid7(), text={"body": "x"}, replyTo={"seq": "1"})
    equal(number(ack, "seq"), 2)


@case("D55", "the duplicate check comes before authorisation: what was acked stays acked")
async def _(t):
    a, b, sa, sb = await t.pair()
    group = await t.group(sa, b)
    first = await sb.say("mine", conversation=group)
    await sa.operate("removeMembers", conversation=group, users=[b.id])
    again = await sb.say("mine", conversation=group, clientMsgId=first["clientMsgId"], resend=True)
    equal((facts(again), again.get("duplicate")), (facts(first), True))
    await sb.refused("notMember", "send", conversation=group, clientMsgId=wire.uuid7(), text={"body": "new"})


@case("D57", "shape comes before existence, existence before right")
async def _(t):
    a, b, c = await t.users(3)
    sa, sb, sc = [await t.connect(u) for u in (a, b, c)]
    group = await t.group(sa, b)
    await sc.refused("invalid", "send", conversation=group, clientMsgId=wire.uuid7(), text={"body": ""})
    await sc.refused("tooLarge", "send", conversation=group, clientMsgId=wire.uuid7(), text={"body": "x" * (sc.welcome["limits"]["textBytes"] + 1)})
    await sc.refused("notFound", "setRole", conversation=group, opId=wire.uuid7(), user=a.id, role="member")
    await sb.refused("forbidden", "setRole", conversation=group, opId=wire.uuid7(), user=wire.uuid7(), role="admin")
    await sb.refused("invalid", "setRole", conversation=group, opId=wire.uuid7(), user=a.id, role="emperor")


@case("D64", "an answer bears the reqId of the transmission it answers")
async def _(t):
    a, b, sa, _ = await t.pair()
    id_ = wire.uuid7()
    frame = {"directTo": b.id, "clientMsgId": id_, "text": {"body": "x"}}
    await sa.post({"reqId": 11, "send": frame})
    await sa.post({"reqId": 12, "send": dict(frame, resend=True)})
    answers = [await sa.take(lambda n, f, _: n == "sendAck", "sendAck") for _ in range(2)]
    equal(sorted(f["reqId"] for f in answers), [11, 12])
    equal(facts(answers[0]["sendAck"]), facts(answers[1]["sendAck"]))


@case("D65", "an older turn than the present one is nacked outOfTurn, temporary, with the present turn", encodings=("json",))
async def _(t):
    a, b, sa, _ = await t.pair()
    limits = sa.welcome["limits"]
    if not limits.get("sendsPerSecond"):
        raise Skip("sendsPerSecond is off: nothing here causes a temporary nack")
    count = limits["sendBurst"] + limits["sendsPerSecond"] * 4
    ids = [wire.uuid7() for _ in range(count)]
    for at, id_ in enumerate(ids):
        await sa.post({"reqId": 1 + at, "send": {"directTo": b.id, "clientMsgId": id_, "text": {"body": str(at)}, "turn": 1}})
    answers = {}
    for _ in ids:
        frame = await sa.take(lambda n, f, _: n in ("sendAck", "nack"), "answer")
        answers[wire.body(frame)[1]["clientMsgId"]] = wire.body(frame)
    first_nack = next(at for at, id_ in enumerate(ids) if answers[id_][0] == "nack")
    for id_ in ids[first_nack:]:
        name, nack = answers[id_]
        holds(name == "nack" and nack["code"] in ("rateLimited", "outOfTurn") and nack.get("temporary"), f"after a temporary nack: {name} {nack}")
        holds(nack.get("turn", 0) >= 2, f"no turn in {nack}")
    acked = [number(answers[id_][1], "seq") for id_ in ids[:first_nack]]
    equal(acked, list(range(1, first_nack + 1)))


@case("limits", "no more than limits.unackedSends unanswered sends are taken; the next is rateLimited", encodings=("pb",), alone=True)
async def _(t):
    a, b, sa, _ = await t.pair()
    most = sa.welcome["limits"]["unackedSends"]
    for at in range(most + 50):
        await sa.post({"reqId": 1 + at, "send": {"directTo": b.id, "clientMsgId": wire.uuid7(), "text": {"body": str(at)}}})
    for _ in range(most + 50):
        frame = await sa.take(lambda n, f, _: n in ("sendAck", "nack"), "answer", timeout=20)
        holds("sendAck" in frame or frame["nack"]["code"] in ("rateLimited", "outOfTurn"), str(frame))
    await sa.alive()
