"""D1-D10: frames, JSON, answers."""

import asyncio
import json

from client import wire

from .suite import JSON_ONLY, PB_ONLY, case, equal, holds, number


async def bad_frame(t, socket, payload):
    await socket.raw(payload)
    return await socket.closed(4500, "badFrame", "invalid")


# ---- D1 ----

for title, text in {
    "words": "hello?", "an array": "[1,2]", "a bare string": '"x"', "two objects": "{}{}", "nothing": "", "an unclosed object": '{"ping":{"t":"x"}',
    "a trailing comma": '{"ping":{"t":"x",}}', "single quotes": "{'ping':{}}", "a comment": '{"ping":{}} // hi', "NaN": '{"ping":{"t":NaN}}',
    "a control character in a string": '{"ping":{"t":"\x01"}}',
}.items():

    @case("D1", f"not one JSON object closes badFrame: {title}", JSON_ONLY)
    async def _(t, text=text):
        socket = await t.connect(await t.user())
        await bad_frame(t, socket, text)


@case("D1", "bytes that are not protobuf close badFrame", PB_ONLY)
async def _(t):
    a = await t.user()
    for payload in (b"\xff\xff\xff\xff", b"\x72\x7fabc", b"\x08"):
        await bad_frame(t, await t.connect(a), payload)


@case("D1", "a message of the other kind closes badFrame")
async def _(t):
    socket = await t.connect(await t.user())
    await bad_frame(t, socket, b"{}" if t.encoding == "json" else "{}")


@case("D1", "broken UTF-8 in a text frame closes badFrame or 1007", JSON_ONLY)
async def _(t):
    socket = await t.connect(await t.user())
    await socket.connection.ws.write_frame(True, 1, b'{"ping":{"t":"\xff\xfe"}}')
    await socket.closed((4500, 1007), "badFrame")


@case("D1", "a wrong type is nack invalid with reqId and clientMsgId, the socket stays", JSON_ONLY)
async def _(t):
    socket = await t.connect(await t.user())
    id_ = wire.uuid7()
    for fields in ({"text": 5}, {"text": {"body": 5}}, {"text": []}, {"text": {"body": "x"}, "resend": "yes"}, {"text": {"body": "x"}, "turn": -1},
                   {"text": {"body": "x"}, "expiresInMs": "soon"}):
        nack = await socket.refused("invalid", "send", clientMsgId=id_, directTo=wire.uuid7(), **fields)
        equal(nack.get("clientMsgId"), id_, "clientMsgId")
        equal(nack.get("temporary", False), False, "temporary")
    await socket.alive()


@case("D1", "a number out of range is nack invalid, the socket stays", JSON_ONLY)
async def _(t):
    socket = await t.connect(await t.user())
    for limit in (-1, 4294967296, 1.5, "x"):
        await socket.refused("invalid", "history", conversation=wire.uuid7(), limit=limit)
    for seq in ("-1", "18446744073709551616", 1.5, True):
        await socket.refused("invalid", "history", conversation=wire.uuid7(), afterSeq=seq)
    await socket.raw('{"reqId":-1,"ping":{}}')
    equal((await socket.next("nack")).get("code"), "invalid")
    await socket.alive()


@case("D1", "two known bodies are nack invalid", JSON_ONLY)
async def _(t):
    socket = await t.connect(await t.user())
    await socket.post({"reqId": 9, "ping": {"t": "x"}, "conversations": {}})
    frame = await socket.take(lambda n, f, frame: frame.get("reqId") == 9, "answer")
    equal(frame.get("nack", {}).get("code"), "invalid")
    await socket.alive()


@case("D1", "no known body is nack unsupported, the socket stays")
async def _(t):
    socket = await t.connect(await t.user())
    for payload, request in (({}, 0), ({"reqId": 7}, 7)):
        await socket.raw(wire.encode(payload, t.encoding))
        frame = await socket.take(lambda n, f, frame: n == "nack", "nack")
        equal((frame["nack"]["code"], frame.get("reqId", 0)), ("unsupported", request))
    unknown = '{"reqId":8,"fromTheFuture":{"x":[1,{"y":null}]}}' if t.encoding == "json" else b"\x08\x08\xca\x3e\x02\x08\x01"
    await socket.raw(unknown)
    frame = await socket.take(lambda n, f, frame: n == "nack", "nack")
    equal((frame["nack"]["code"], frame.get("reqId", 0)), ("unsupported", 8))
    await socket.alive()


@case("D1", "frames of the server's direction are not known bodies of a client's")
async def _(t):
    socket = await t.connect(await t.user())
    for request, frame in enumerate(({"welcome": {}}, {"sendAck": {"seq": "1"}}, {"goaway": {}}, {"event": {"conversation": wire.uuid7()}}), 20):
        await socket.post({"reqId": request, **frame})
        got = await socket.take(lambda n, f, frame: n == "nack", "nack")
        holds(got["nack"]["code"] in ("unsupported", "invalid"), f"{frame}: {got}")
    await socket.alive()


@case("D1", "unknown fields are ignored")
async def _(t):
    socket = await t.connect(await t.user())
    if t.encoding == "json":
        await socket.raw('{"reqId":5,"ping":{"t":"x","new":{"a":[1,2,{"b":"c"}]}},"alsoNew":"\\ud83d\\ude00"}')
    else:
        await socket.raw(wire.encode({"reqId": 5, "ping": {"t": "x"}}, "pb") + b"\xca\x3e\x02\x08\x01")
    frame = await socket.take(lambda n, f, frame: frame.get("reqId") == 5, "pong")
    equal(frame["pong"], {"t": "x"})


@case("D1", "null means absent, as in proto3 JSON", JSON_ONLY)
async def _(t):
    a, b = await t.users(2)
    socket = await t.connect(a)
    await socket.expect("sendAck", "send", directTo=b.id, clientMsgId=wire.uuid7(), text={"body": "x"}, conversation=None, replyTo=None, sendAtMs=None)


@case("D1", "malformed ids are nack invalid")
async def _(t):
    socket = await t.connect(await t.user())
    for bad in ("x", "", "0192", wire.uuid7() + "0", wire.uuid7().replace("-", ""), "{" + wire.uuid7() + "}", "zzzzzzzz-0000-7000-8000-000000000001"):
        await socket.refused("invalid", "send", directTo=wire.uuid7(), clientMsgId=bad, text={"body": "x"})
        await socket.refused("invalid", "history", conversation=bad)
        await socket.refused("invalid", "createConversation", opId=bad, kind="group", title="x")
        if bad:
            await socket.refused("invalid", "send", directTo=bad, clientMsgId=wire.uuid7(), text={"body": "x"})
    await socket.alive()


@case("D1", "any frame before hello closes badFrame")
async def _(t):
    for frame in ({"ping": {"t": "x"}}, {}, {"reqId": 1}, {"history": {"conversation": wire.uuid7()}}):
        socket = await t.open()
        await bad_frame(t, socket, wire.encode(frame, t.encoding))
    socket = await t.open()
    await bad_frame(t, socket, '{"hello":{"token":5}}' if t.encoding == "json" else b"\xff\xff")


@case("D1", "a second hello closes badFrame")
async def _(t):
    a = await t.user()
    socket = await t.connect(a)
    await bad_frame(t, socket, wire.encode({"hello": {"token": a.token, "deviceId": "d1"}}, t.encoding))


@case("D1", "deep nesting neither crashes nor hangs", JSON_ONLY)
async def _(t):
    socket = await t.connect(await t.user())
    await socket.raw('{"x":' + "[" * 30000 + "]" * 30000 + "}")
    frame = await socket.take(lambda n, f, frame: n in ("nack", "error"), "nack or error")
    holds(wire.body(frame)[1]["code"] in ("unsupported", "invalid"), str(frame))
    await (await t.connect(await t.user())).alive()


@case("D1", "a message in fragments is one message")
async def _(t):
    socket = await t.connect(await t.user())
    payload = wire.encode({"reqId": 3, "ping": {"t": "fragments"}}, t.encoding)
    await socket.raw([payload[:4], payload[4:5], payload[5:5], payload[5:]])
    frame = await socket.take(lambda n, f, frame: frame.get("reqId") == 3, "pong")
    equal(frame["pong"], {"t": "fragments"})


@case("D1", "RFC 6455: unmasked, reserved bits, reserved opcode, oversized control frame end the connection; the server lives")
async def _(t):
    a = await t.user()
    for data in (b"\x81\x02{}", b"\xf1\x82\x00\x00\x00\x00{}", b"\x83\x80\x00\x00\x00\x00", b"\x89\xfe\x00\x7e\x00\x00\x00\x00" + b"x" * 126,
                 b"\x80\x80\x00\x00\x00\x00"):
        socket = await t.connect(a)
        socket.connection.ws.transport.write(data)
        await socket.closed((1002, 1006, 4500), "badFrame")
    await (await t.connect(a)).alive()


@case("D1", "RFC 6455: a ping frame is answered by a pong frame")
async def _(t):
    socket = await t.connect(await t.user())
    await asyncio.wait_for(await socket.connection.ws.ping(b"beat"), 5)


# ---- D2 ----

@case("D2", "a request gets one answer with its reqId; without reqId send, ping and auth are answered still")
async def _(t):
    a, b, sa, _ = await t.pair()
    await sa.post({"send": {"directTo": b.id, "clientMsgId": (id_ := wire.uuid7()), "text": {"body": "x"}}})
    frame = await sa.take(lambda n, f, frame: n == "sendAck", "sendAck")
    equal((frame.get("reqId", 0), frame["sendAck"]["clientMsgId"]), (0, id_))
    await sa.post({"ping": {"t": "y"}})
    frame = await sa.take(lambda n, f, frame: n == "pong", "pong")
    equal((frame.get("reqId", 0), frame["pong"]["t"]), (0, "y"))
    await sa.post({"auth": {"token": a.token}})
    holds(number((await sa.next("auth")), "expiresAtMs") > 0, "auth without expiresAtMs")
    await sa.post({"reqId": 4294967295, "ping": {"t": "max"}})
    equal((await sa.take(lambda n, f, frame: n == "pong", "pong"))["reqId"], 4294967295)


@case("D2", "without reqId a request is silent, its failure is told by a nack with its opId")
async def _(t):
    a, b, sa, _ = await t.pair()
    ack = await sa.say(to=b)
    await sa.post({"markRead": {"conversation": ack["conversation"], "seq": "1"}})
    await sa.post({"history": {"conversation": ack["conversation"]}})
    op = wire.uuid7()
    await sa.post({"addMembers": {"conversation": ack["conversation"], "opId": op, "users": [b.id]}})  # D35: a direct conversation
    nack = await sa.next("nack")
    equal((nack.get("opId"), nack["code"]), (op, "forbidden"))
    await sa.alive()
    equal([wire.body(f)[0] for f in sa.inbox if wire.body(f)[0] in ("result", "historyPage")], [], "silent answers")


# ---- D3, D4, D5 ----

@case("D3", "64-bit input is taken as number and as string, 32-bit too; output is canonical", JSON_ONLY)
async def _(t):
    a, b, sa, _ = await t.pair()
    conversation = (await sa.say(to=b))["conversation"]
    for seq in (9, "9", 9.0):
        for limit in (5, "5", 5.0):
            page = await sa.history(conversation, beforeSeq=seq, limit=limit)
            equal([type(page["events"][0][k]) for k in ("seq", "serverTimeMs")], [str, str])
    holds(isinstance(sa.welcome["heartbeatMs"], int) and isinstance(sa.welcome["serverTimeMs"], str), "welcome")
    holds(isinstance(sa.welcome["limits"]["frameBytes"], int), "limits")


@case("D4", "upper-case ids are accepted and normalised; any UUID version serves as clientMsgId")
async def _(t):
    a, b, sa, sb = await t.pair()
    for id_ in (wire.uuid7().upper(), "00000000-0000-4000-8000-000000000001", "ffffffff-ffff-1fff-8fff-ffffffffffff"):
        ack = await sa.say(to=b.id.upper(), clientMsgId=id_)
        equal(ack["clientMsgId"], id_.lower())
        equal((await sb.event(ack["conversation"]))["clientMsgId"], id_.lower())
    equal(len((await sa.history(ack["conversation"].upper()))["events"]), 3)


@case("D5", "ids of direct and self conversations are computed")
async def _(t):
    a, b, sa, sb = await t.pair()
    ack = await sa.say(to=b)
    equal((ack["conversation"], number(ack, "seq"), number(ack, "number")), (wire.direct_conversation(a.id, b.id), 1, 1))
    answer = await sb.say(to=a)
    equal((answer["conversation"], number(answer, "seq")), (ack["conversation"], 2))
    own = await sa.say(to=a)
    equal(own["conversation"], wire.direct_conversation(a.id, a.id))
    holds(a.id[14] == "7" and sa.welcome["sessionId"][14] == "7", "server-made ids are UUIDv7")


# ---- D6 ----

@case("D6", "a frame of exactly limits.frameBytes is accepted, one byte more closes frameTooLarge")
async def _(t):
    a = await t.user()
    socket = await t.connect(a)
    limit = socket.welcome["limits"]["frameBytes"]
    overhead = len(wire.encode({"ping": {"t": "x" * (limit - 100)}}, t.encoding)) - (limit - 100)
    await socket.post({"ping": {"t": "x" * (limit - overhead)}})
    equal(len((await socket.next("pong"))["t"]), limit - overhead)
    await socket.post({"ping": {"t": "x" * (limit - overhead + 1)}})
    await socket.closed(4506, "frameTooLarge", "tooLarge")


@case("D6", "fragments are summed against frameBytes")
async def _(t):
    socket = await t.connect(await t.user())
    piece = b"x" * (socket.welcome["limits"]["frameBytes"] // 4)
    for opcode in (1 if t.encoding == "json" else 2, 0, 0, 0, 0):
        await socket.connection.ws.write_frame(False, opcode, piece)
    await socket.closed(4506, "frameTooLarge", "tooLarge")


@case("D6", "a length announced beyond reason closes before it is sent")
async def _(t):
    socket = await t.connect(await t.user())
    socket.connection.ws.transport.write(b"\x82\xff" + (2**62).to_bytes(8, "big") + b"\x00\x00\x00\x00")
    await socket.closed((4506, 1009, 1006), "frameTooLarge")


@case("D6", "textBytes counts decoded UTF-8: exactly that many are accepted, one more is tooLarge")
async def _(t):
    a, b, sa, sb = await t.pair()
    limit = sa.welcome["limits"]["textBytes"]
    ack = await sa.say("é" * (limit // 2), to=b)
    equal(len((await sb.event(ack["conversation"]))["message"]["text"]["body"].encode()), limit)
    nack = await sa.refused("tooLarge", "send", directTo=b.id, clientMsgId=wire.uuid7(), text={"body": "é" * (limit // 2) + "x"})
    holds(nack.get("clientMsgId") and not nack.get("temporary"), str(nack))


@case("D6", "a page ends early, with more, before 512 KiB")
async def _(t):
    a, b, sa, _ = await t.pair()
    for _ in range(18):
        conversation = (await sa.say("x" * 32000, to=b))["conversation"]
    newest = await sa.history(conversation, limit=50)
    holds(newest.get("more") and 1 <= len(newest["events"]) < 18, f"{len(newest['events'])} events, more {newest.get('more')}")
    older = await sa.history(conversation, beforeSeq=newest["events"][0]["seq"], limit=50)
    equal([number(e, "seq") for e in older["events"] + newest["events"]], list(range(1, 19)))
    after = await sa.history(conversation, afterSeq="1", limit=50)
    equal((number(after["events"][0], "seq"), after.get("more")), (2, True))


# ---- D7, D8, D9, D10 ----

@case("D7", "lastMessage is the newest message, its text perhaps cut to 256 bytes and then marked truncated")
async def _(t):
    a, b, sa, sb = await t.pair()
    await sa.say("first", to=b)
    conversation = (await sa.say("y" * 1000, to=b))["conversation"]
    summary = await sb.summary(conversation)
    message = summary["lastMessage"]
    equal((number(message, "seq"), number(message, "number"), message["sender"]), (2, 2, a.id))
    text = message["message"]["text"]["body"]
    holds(text == "y" * 1000 or (message["message"].get("truncated") and text == "y" * len(text) and len(text) <= 256), f"{len(text)} bytes of text")
    equal((summary["kind"], summary["peer"], summary["memberCount"], number(summary, "unread")), ("direct", a.id, 2, 2))


@case("D8", "event.message mirrors send: mentions, replyTo, and every content")
async def _(t):
    a, b, sa, sb = await t.pair()
    first = await sa.say("one", to=b)
    conversation = first["conversation"]
    contents = [
        {"text": {"body": "two", "mentions": [b.id]}, "replyTo": {"seq": "1"}},
        {"location": {"latitude": 52.5, "longitude": -13.25, "name": "here"}},
        {"card": {"type": "poll", "json": '{"q":"?"}'}},
        {"cipher": {"algorithm": "mls", "payload": "AP8=", "keyId": "k1"}},
    ]
    for content in contents:
        ack = await sa.expect("sendAck", "send", conversation=conversation, clientMsgId=wire.uuid7(), **content)
    await sb.event(conversation)
    for content in contents:
        event = await sb.event(conversation)
        equal(event["message"], content)
    equal((event["chain"], event["serverTimeMs"], event["seq"], event["number"]), (ack["chain"], ack["serverTimeMs"], ack["seq"], ack["number"]))
    equal((event["sender"], event["senderDevice"], event["clientMsgId"]), (a.id, "d1", ack["clientMsgId"]))


@case("D9", "texts are kept byte for byte")
async def _(t):
    a, b, sa, sb = await t.pair()
    for text in ("  spaces  ", "\t\r\n", "quotes \" ' \\ / <b>&amp;", "e\u0301 vs é", "😀👩‍👩‍👧 𐍈", "\u202eright to left", "\x01\x1f\x7f", "'; drop table events; --",
                 "\u2028\u2029\ufeff", "{\"json\":1}", "%s %n $1 \\x00", "x" * 5000):
        ack = await sa.say(text, to=b)
        equal((await sb.event(ack["conversation"]))["message"]["text"]["body"], text)
    page = await sa.history(ack["conversation"], limit=3)
    equal([e["message"]["text"]["body"] for e in page["events"]][1:], ["%s %n $1 \\x00", "x" * 5000])


@case("D9", "U+0000 is nack invalid")
async def _(t):
    a, b, sa, _ = await t.pair()
    await sa.refused("invalid", "send", directTo=b.id, clientMsgId=wire.uuid7(), text={"body": "a\u0000b"})
    await sa.refused("invalid", "createConversation", opId=wire.uuid7(), kind="group", title="a\u0000b", members=[b.id])
    await sa.alive()


@case("D9", "an unpaired surrogate is nack invalid", JSON_ONLY)
async def _(t):
    a, b, sa, _ = await t.pair()
    id_ = wire.uuid7()
    for escape in ("\\ud800", "\\udc00x", "\\ud800\\ud800"):
        await sa.raw('{"reqId":77,"send":{"directTo":"%s","clientMsgId":"%s","text":{"body":"%s"}}}' % (b.id, id_, escape))
        frame = await sa.take(lambda n, f, frame: n == "nack", "nack")
        equal(frame["nack"]["code"], "invalid")
    await sa.alive()


@case("D9", "escapes in JSON are decoded", JSON_ONLY)
async def _(t):
    a, b, sa, sb = await t.pair()
    await sa.raw('{"reqId":77,"s\\u0065nd":{"directTo":"%s","clientMsgId":"%s","text":{"body":"\\u00e9\\ud83d\\ude00\\/\\n"}}}' % (b.id, wire.uuid7()))
    ack = (await sa.take(lambda n, f, frame: frame.get("reqId") == 77, "sendAck"))["sendAck"]
    equal((await sb.event(ack["conversation"]))["message"]["text"]["body"], "é😀/\n")


@case("D9", "empty or missing content, neither or both targets: nack invalid")
async def _(t):
    a, b, sa, _ = await t.pair()
    conversation = (await sa.say(to=b))["conversation"]
    for fields in ({"text": {"body": ""}, "directTo": b.id}, {"text": {}, "directTo": b.id}, {"directTo": b.id}, {"text": {"body": "x"}},
                   {"text": {"body": "x"}, "directTo": b.id, "conversation": conversation}):
        nack = await sa.refused("invalid", "send", clientMsgId=(id_ := wire.uuid7()), **fields)
        equal(nack.get("clientMsgId"), id_)
    await sa.refused("invalid", "send", directTo=b.id, text={"body": "no id"})
    equal(number(await sa.say(to=b), "seq"), 2)


@case("D9", "more than one content: nack invalid", JSON_ONLY)
async def _(t):
    a, b, sa, _ = await t.pair()
    await sa.refused("invalid", "send", clientMsgId=wire.uuid7(), directTo=b.id, text={"body": "x"}, card={"type": "t", "json": "{}"})


@case("D51", "content bounds: card.json at most 16 KiB and preview at most 4 KiB")
async def _(t):
    a, b, sa, _ = await t.pair()
    await sa.expect("sendAck", "send", directTo=b.id, clientMsgId=wire.uuid7(), card={"type": "t", "json": json.dumps("x" * 16382)})
    for content in ({"card": {"type": "t", "json": "x" * (16 * 1024 + 1)}},):
        got, nack = await sa.ask("send", directTo=b.id, clientMsgId=wire.uuid7(), **content)
        holds(got == "nack" and nack["code"] in ("tooLarge", "invalid"), f"{got} {nack}")
