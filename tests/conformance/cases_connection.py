"""D11-D17: handshake, hello, logins, heartbeat."""

import asyncio
import base64
import hashlib
import hmac
import json
import time

from client import rest, wire
from client.connection import Connection, Refused

from .suite import REST, Failure, Skip, case, equal, holds, number


async def handshake_status(t, **options):
    try:
        connection = await Connection.open(t.url(), t.encoding, timeout=10, **options)
    except Refused as refused:
        return refused.status
    chosen = connection.ws.subprotocol
    await connection.close()
    return chosen


@case("D11", "no acceptable subprotocol: HTTP 400", REST)
async def _(t):
    equal(await handshake_status(t, subprotocols=["mqtt"]), 400)
    equal(await handshake_status(t, subprotocols=[]), 400)


@case("D11", "the first subprotocol the server knows wins", REST)
async def _(t):
    equal(await handshake_status(t, subprotocols=["x", "parley.v1.pb", "parley.v1.json"]), "parley.v1.pb")
    equal(await handshake_status(t, subprotocols=["parley.v9", "parley.v1.json", "parley.v1.pb"]), "parley.v1.json")


@case("D11", "a foreign Origin is 403, the same origin and none are allowed", REST)
async def _(t):
    equal(await handshake_status(t, subprotocols=["parley.v1.json"], origin="https://evil.example"), 403)
    equal(await handshake_status(t, subprotocols=["parley.v1.json"], origin="null"), 403)
    equal(await handshake_status(t, subprotocols=["parley.v1.json"], origin=t.url()), "parley.v1.json")
    host = t.url().split("//")[1]
    for trick in (f"http://{host}.evil.example", f"http://evil.example/{host}", f"http://evil@{host}", f"http://{host}@evil.example"):
        equal(await handshake_status(t, subprotocols=["parley.v1.json"], origin=trick), 403, trick)


@case("D11", "handshakes that RFC 6455 refuses are HTTP errors", REST)
async def _(t):
    good = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": base64.b64encode(b"0" * 16).decode(),
            "Sec-WebSocket-Protocol": "parley.v1.json"}
    for change in ({"Sec-WebSocket-Version": "12"}, {"Sec-WebSocket-Key": ""}, {"Sec-WebSocket-Key": "short"}, {"Upgrade": "h2c"}):
        answer = await rest.request(t.url(), "GET", "/v1/ws", headers=good | change)
        holds(400 <= answer.status < 500, f"{change}: {answer.status}")


@case("D12", "a bad or absent token: authFailed; no detail told")
async def _(t):
    a = await t.user()
    head, payload, signature = a.token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))

    def b64(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    none = b64({"alg": "none", "typ": "JWT"})
    tokens = ["", "x", "a.b.c", head + "." + payload + ".", f"{none}.{payload}.", f"{none}.{payload}.{signature}", f"{head}.{b64(claims | {'exp': 9999999999})}.{signature}",
              f"{b64({'alg': 'RS256', 'typ': 'JWT'})}.{payload}.{signature}", a.token + "x", a.refresh_token, "." * 3000]
    for key in ("", "secret"):
        text = f"{head}.{payload}"
        forged = base64.urlsafe_b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha256).digest()).decode().rstrip("=")
        tokens.append(f"{text}.{forged}")
    for token in tokens:
        socket = await t.open()
        await socket.post({"hello": {"token": token, "deviceId": "d1"}})
        await socket.closed(4501, "authFailed", "unauthenticated")


def minted(token, secret, **changes):
    head, payload, _ = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "==")) | changes
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    signature = base64.urlsafe_b64encode(hmac.new(secret.encode(), f"{head}.{payload}".encode(), hashlib.sha256).digest()).decode().rstrip("=")
    return f"{head}.{payload}.{signature}"


@case("D12", "an expired token: tokenExpired")
async def _(t):
    if not t.options.jwt_secret:
        raise Skip("needs --jwt-secret")
    a = await t.user()
    socket = await t.open()
    await socket.post({"hello": {"token": minted(a.token, t.options.jwt_secret, exp=int(time.time()) - 60), "deviceId": "d1"}})
    await socket.closed(4009, "tokenExpired", "unauthenticated")


@case("D17", "a token that expires on a live socket: tokenExpired, unless auth came in time")
async def _(t):
    if not t.options.jwt_secret:
        raise Skip("needs --jwt-secret")
    a = await t.user()
    short = minted(a.token, t.options.jwt_secret, exp=int(time.time()) + 3)
    dies = await t.connect(a, "d1", token=short)
    lives = await t.connect(a, "d2", token=short)
    await lives.expect("auth", "auth", token=a.token)
    await dies.closed(4009, "tokenExpired", "unauthenticated")
    await lives.alive()


@case("D12", "a malformed deviceId or too many cursors: badFrame")
async def _(t):
    a = await t.user()
    for device in ("", "x" * 65, "a b", "ä", "a/b", "a\n"):
        socket = await t.open()
        await socket.post({"hello": {"token": a.token, "deviceId": device}})
        await socket.closed(4500, "badFrame", "invalid")
    socket = await t.connect(a, "A-z.0_" + "x" * 58)
    limits = socket.welcome["limits"]
    hello = {"hello": {"token": a.token, "deviceId": "d", "cursors": [{"conversation": wire.uuid7(), "seq": "1"} for _ in range(limits["cursors"] + 1)]}}
    if len(wire.encode(hello, t.encoding)) <= limits["frameBytes"]:  # D6: the frame's bound comes first, and 1,001 cursors in JSON pass it
        socket = await t.open()
        await socket.post(hello)
        await socket.closed(4500, "badFrame", "invalid")


@case("D12", "a token anywhere but in hello does not authenticate a socket", REST)
async def _(t):
    a = await t.user()
    socket = await t.open(headers={"Authorization": f"Bearer {a.token}"})
    await socket.post({"hello": {"deviceId": "d1"}})
    await socket.closed(4501, "authFailed", "unauthenticated")


@case("D12", "one device more than limits.devices is refused with conflict, close overloaded")
async def _(t):
    a = await t.user()
    first = await t.connect(a, "d0")
    most = first.welcome["limits"]["devices"]
    await asyncio.gather(*(t.connect(a, f"d{i}", gateway=i) for i in range(1, most)))
    socket = await t.open(gateway=1)
    await socket.post({"hello": {"token": a.token, "deviceId": "one-more"}})
    await socket.closed(4005, "overloaded", "conflict")
    await first.close()
    deadline = time.monotonic() + 5
    while True:  # the place is free once the close has got around
        socket = await t.open(gateway=1)
        await socket.post({"hello": {"token": a.token, "deviceId": "one-more"}})
        frame = await socket.take(lambda n, f, _: n in ("welcome", "error"), "welcome or error")
        if "welcome" in frame:
            break
        holds(time.monotonic() < deadline, "the place of a closed device stays taken")


@case("D13", "logout ends the login session: refresh dead, sockets close loggedOut on every gateway, others stay")
async def _(t):
    a = await t.user()
    other = await a.login(t.url())
    mine = await asyncio.gather(t.connect(a, "d1"), t.connect(a, "d2", gateway=1))
    stays = await t.connect(other, "d3", gateway=1)
    answer = await a.rest("POST", "/v1/auth/logout", {})
    equal(answer.status, 204)
    await asyncio.gather(*(s.closed(4508, "loggedOut", "unauthenticated", timeout=3) for s in mine))
    equal((await rest.request(t.url(), "POST", "/v1/auth/refresh", {"refreshToken": a.refresh_token})).status, 401)
    await stays.alive()
    socket = await t.open()
    await socket.post({"hello": {"token": a.token, "deviceId": "d1"}})
    await socket.closed(4502, "authRevoked", "unauthenticated")
    deadline = time.monotonic() + 3
    while (await a.rest("GET", "/v1/users/me")).status != 401:
        holds(time.monotonic() < deadline, "a logged-out access token serves REST")


@case("D13", "logout of all ends every session of the user")
async def _(t):
    a = await t.user()
    other = await a.login(t.url(1))
    sockets = await asyncio.gather(t.connect(a, "d1"), t.connect(other, "d2", gateway=1))
    equal((await a.rest("POST", "/v1/auth/logout", {"all": True})).status, 204)
    await asyncio.gather(*(s.closed(4508, "loggedOut", "unauthenticated", timeout=3) for s in sockets))
    await a.login(t.url())  # logging in again is allowed


@case("D13", "a refresh rotates; reuse of the old token ends the family, sockets close authRevoked")
async def _(t):
    a = await t.user()
    old = a.refresh_token
    await a.renew()
    holds(a.refresh_token != old, "not rotated")
    socket = await t.connect(a, gateway=1)
    equal((await rest.request(t.url(), "POST", "/v1/auth/refresh", {"refreshToken": old})).status, 401)
    await socket.closed(4502, "authRevoked", "unauthenticated", timeout=3)
    equal((await rest.request(t.url(), "POST", "/v1/auth/refresh", {"refreshToken": a.refresh_token})).status, 401)


@case("D14", "the same device again supersedes the older socket, on any gateway")
async def _(t):
    a = await t.user()
    for gateway in (0, 1):
        first = await t.connect(a, "same")
        second = await t.connect(a, "same", gateway=gateway)
        await first.closed(4507, "superseded", "conflict")
        await second.alive()
    other = await t.connect(a, "another")
    await other.alive()
    await second.alive()


@case("D15", "a sender's other connections get the event, the sending one only its ack")
async def _(t):
    a, b = await t.users(2)
    sender, own, peer = await t.connect(a, "d1"), await t.connect(a, "d2", gateway=1), await t.connect(b)
    acks = [await sender.say(f"{i}", to=b) for i in range(3)]
    for socket in (own, peer):
        for ack in acks:
            event = await socket.event(ack["conversation"])
            equal((event["seq"], event["clientMsgId"], event["chain"]), (ack["seq"], ack["clientMsgId"], ack["chain"]))
    await peer.say("back", to=a)
    event = await sender.event(acks[0]["conversation"])  # the first event the sender sees is not its own
    equal((event["sender"], number(event, "seq")), (b.id, 4))


@case("D16", "ping is answered at once with t and reqId")
async def _(t):
    socket = await t.connect(await t.user())
    for text in ("", "x", "é" * 100):
        equal((await socket.expect("pong", "ping", t=text)).get("t", ""), text)


@case("D16", "the server pings an idle socket and closes a silent one with heartbeatTimeout", alone=True)
async def _(t):
    a = await t.user()
    socket = await t.connect(a)
    heartbeat = socket.welcome["heartbeatMs"] / 1000
    if heartbeat > 5:
        raise Skip(f"heartbeat is {heartbeat:g} s")
    socket.answer_pings = False
    started = time.monotonic()
    await socket.next("ping", timeout=heartbeat * 1.5 + 1)
    await socket.closed(4004, "heartbeatTimeout", "unavailable", timeout=heartbeat * 3 + 2)
    holds(time.monotonic() - started >= heartbeat * 1.9, f"closed after {time.monotonic() - started:.1f} s already")


@case("D17", "auth in place: own token accepted, another's forbidden, a bad one unauthenticated; the socket stays")
async def _(t):
    a, b = await t.users(2)
    socket = await t.connect(a)
    fresh = await a.login(t.url())
    answer = await socket.expect("auth", "auth", token=fresh.token)
    holds(number(answer, "expiresAtMs") > time.time() * 1000, str(answer))
    await socket.refused("forbidden", "auth", token=b.token)
    await socket.refused("unauthenticated", "auth", token="x.y.z")
    await socket.say(to=b)
    await a.rest("POST", "/v1/auth/logout", {})  # the login of `hello`; the socket now lives on the fresh one
    try:
        await socket.closed(4508, "loggedOut", timeout=2)
    except Failure:
        pass
    holds(socket.end is None, "closed though auth had moved it to another login session")
    await fresh.rest("POST", "/v1/auth/logout", {})
    await socket.closed(4508, "loggedOut", "unauthenticated", timeout=3)


@case("hello", "no hello within the hello timeout: close helloTimeout")
async def _(t):
    socket = await t.open()
    await socket.closed(4509, "helloTimeout", "invalid", timeout=9)


@case("hello", "welcome names user, session, time, heartbeat and limits; a second socket has its own session")
async def _(t):
    a = await t.user()
    one, two = await t.connect(a, "d1"), await t.connect(a, "d2")
    equal(one.welcome["userId"], a.id)
    holds(one.welcome["sessionId"] != two.welcome["sessionId"], "one sessionId twice")
    holds(abs(number(one.welcome, "serverTimeMs") - time.time() * 1000) < 60_000, "serverTimeMs")
    for limit in ("frameBytes", "textBytes", "unackedSends", "devices", "resumeEvents", "cursors"):
        holds(one.welcome["limits"].get(limit, 0) > 0, f"limits.{limit}")
    holds(one.caught_up.get("syncToken"), "caughtUp without a syncToken")


@case("hello", "requests sent before caughtUp are served")
async def _(t):
    a, b = await t.users(2)
    socket = await t.open()
    await socket.post({"hello": {"token": a.token, "deviceId": "d1"}})
    await socket.post({"reqId": 1, "ping": {"t": "early"}})
    await socket.post({"reqId": 2, "send": {"directTo": b.id, "clientMsgId": wire.uuid7(), "text": {"body": "early"}}})
    await socket.next("caughtUp")
    await socket.next("sendAck")
    await socket.next("pong", t="early")
