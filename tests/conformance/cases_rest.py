"""REST v1: D13, D39, D48, D49 and the shapes of protocol.md."""

import asyncio
import os

from client import rest, wire

from .suite import REST, case, equal, holds, number


def problem(answer, status, code):
    equal(answer.status, status, answer.body[:200].decode("utf-8", "replace"))
    holds(answer.headers.get("content-type", "").startswith("application/problem+json"), f"content-type {answer.headers.get('content-type')}")
    equal((answer.json.get("code"), answer.json.get("status")), (code, status))
    holds(answer.json.get("title") and "type" in answer.json, f"{answer.json}")
    return answer


def name():
    return "r." + os.urandom(8).hex()


@case("REST", "register: 201 with user and tokens; the name is unique whatever its case", REST)
async def _(t):
    username = name()
    body = {"username": username, "password": "correct horse", "displayName": "Ünï"}
    answer = await rest.request(t.url(), "POST", "/v1/auth/register", body)
    equal(answer.status, 201)
    equal((answer.json["user"]["username"], answer.json["user"]["displayName"]), (username, "Ünï"))
    holds(answer.json["accessToken"] and answer.json["refreshToken"] and isinstance(answer.json["expiresInMs"], int), "tokens")
    problem(await rest.request(t.url(), "POST", "/v1/auth/register", body), 409, "conflict")
    problem(await rest.request(t.url(1), "POST", "/v1/auth/register", body | {"username": username.upper()}), 409, "conflict")


@case("REST", "register: bad values are 400 invalid", REST)
async def _(t):
    good = {"username": name(), "password": "correct horse", "displayName": "x"}
    for change in ({"username": "ab"}, {"username": "x" * 33}, {"username": "a b c"}, {"username": "ä" * 5}, {"password": "short"}, {"password": "x" * 129},
                   {"displayName": ""}, {"displayName": "x" * 65}, {"username": 5}, {"username": None}, {"displayName": "a\u0000b"}):
        problem(await rest.request(t.url(), "POST", "/v1/auth/register", good | change), 400, "invalid")
    for body in (b"", b"{", b"[]", b'"x"', b"\xff\xfe", b"null"):
        problem(await rest.request(t.url(), "POST", "/v1/auth/register", body), 400, "invalid")


@case("REST", "login: 200; a wrong password and an unknown user are the same 401 with WWW-Authenticate", REST)
async def _(t):
    a = await t.user()
    holds((await a.login(t.url(1))).id == a.id, "another user")
    for username, password in ((a.username, "wrong password"), (name(), "wrong password")):
        answer = problem(await rest.request(t.url(), "POST", "/v1/auth/login", {"username": username, "password": password}), 401, "unauthenticated")
        holds(answer.headers.get("www-authenticate", "").startswith("Bearer"), "WWW-Authenticate")
    upper = await rest.request(t.url(), "POST", "/v1/auth/login", {"username": a.username.upper(), "password": a.password})
    equal(upper.status, 200)


@case("REST", "refresh: unknown tokens are 401", REST)
async def _(t):
    for token in ("x", "", os.urandom(32).hex()):
        answer = await rest.request(t.url(), "POST", "/v1/auth/refresh", {"refreshToken": token})
        holds(answer.status in (400, 401), f"{answer.status}")
    a = await t.user()
    problem(await rest.request(t.url(), "POST", "/v1/auth/refresh", {"refreshToken": a.token}), 401, "unauthenticated")


@case("REST", "without a valid token everything else is 401", REST)
async def _(t):
    a = await t.user()
    for method, path in (("GET", "/v1/users/me"), ("GET", "/v1/conversations"), ("POST", "/v1/auth/logout"), ("POST", "/v1/conversations"),
                         ("GET", f"/v1/conversations/{wire.uuid7()}/messages")):
        for token in (None, "x", a.token + "x", a.refresh_token):
            answer = problem(await rest.request(t.url(), method, path, {} if method == "POST" else None, token), 401, "unauthenticated")
            holds(answer.headers.get("www-authenticate", "").startswith("Bearer"), "WWW-Authenticate")
    answer = await rest.request(t.url(), "GET", f"/v1/users/me?access_token={a.token}")
    equal(answer.status, 401, "a token in the URL")


@case("REST", "users: me, PATCH, by id, search", REST)
async def _(t):
    a, b = await t.users(2)
    me = await a.rest("GET", "/v1/users/me")
    equal((me.status, me.json["id"], me.json["username"]), (200, a.id, a.username))
    patched = await a.rest("PATCH", "/v1/users/me", {"displayName": "New Name"})
    equal((patched.status, patched.json["displayName"]), (200, "New Name"))
    seen = await b.rest("GET", f"/v1/users/{a.id}", url=t.url(1))
    equal((seen.status, seen.json["displayName"], seen.json["username"]), (200, "New Name", a.username))
    problem(await b.rest("GET", f"/v1/users/{wire.uuid7()}"), 404, "notFound")
    problem(await b.rest("GET", "/v1/users/nonsense"), 404, "notFound")
    found = await b.rest("GET", f"/v1/users?query={a.username[:12]}")
    equal((found.status, a.id in [u["id"] for u in found.json["items"]]), (200, True))
    holds("passwordHash" not in str(found.json) and "password" not in str(me.json), "secrets")


@case("REST", "conversations: create, get, list, members", REST)
async def _(t):
    a, b = await t.users(2)
    made = await a.rest("POST", "/v1/conversations", {"kind": "group", "title": "g", "members": [b.id]})
    equal((made.status, made.json["seq"]), (201, "1"))
    group = made.json["id"]
    got = await b.rest("GET", f"/v1/conversations/{group}", url=t.url(1))
    equal((got.status, got.json["conversation"], got.json["title"], got.json["memberCount"], got.json["role"]), (200, group, "g", 2, "member"))
    listed = await a.rest("GET", "/v1/conversations?limit=10")
    equal((listed.status, [s["conversation"] for s in listed.json["items"]]), (200, [group]))
    members = await b.rest("GET", f"/v1/conversations/{group}/members")
    equal(sorted((m["user"]["id"], m["role"]) for m in members.json["items"]), sorted([(a.id, "owner"), (b.id, "member")]))
    stranger = await t.user()
    for path in (f"/v1/conversations/{group}", f"/v1/conversations/{group}/members", f"/v1/conversations/{group}/messages", f"/v1/conversations/{wire.uuid7()}"):
        problem(await stranger.rest("GET", path), 404, "notFound")


@case("REST", "messages: POST 201 sendAck, GET pages; sockets get the event with senderDevice rest", REST)
async def _(t):
    a, b = await t.users(2)
    sa, sb = await t.connect(a), await t.connect(b, gateway=1)
    conversation = (await sa.say("one", to=b))["conversation"]
    id_ = wire.uuid7()
    posted = await a.rest("POST", f"/v1/conversations/{conversation}/messages", {"clientMsgId": id_, "text": {"body": "two"}})
    equal((posted.status, posted.json["seq"], posted.json["number"], posted.json["clientMsgId"]), (201, "2", "2", id_))
    await sb.event(conversation)
    for socket in (sb, sa):  # D15: all connections of the user too
        event = await socket.event(conversation)
        equal((number(event, "seq"), event["senderDevice"], event["clientMsgId"], event["chain"]), (2, "rest", id_, posted.json["chain"]))
    for query, expected in (("", ["1", "2"]), ("?limit=1", ["2"]), ("?afterSeq=1", ["2"]), ("?beforeSeq=2", ["1"]), ("?aroundSeq=1&limit=3", ["1", "2"])):
        page = await b.rest("GET", f"/v1/conversations/{conversation}/messages{query}", url=t.url(1))
        equal((page.status, [e["seq"] for e in page.json["events"]]), (200, expected), query)
    holds((await b.rest("GET", f"/v1/conversations/{conversation}/messages?limit=1")).json["more"] is True, "more")
    for query in ("?limit=x", "?afterSeq=-1", "?beforeSeq=1e3"):
        problem(await b.rest("GET", f"/v1/conversations/{conversation}/messages{query}"), 400, "invalid")
    read = await b.rest("POST", f"/v1/conversations/{conversation}/read", {"seq": "2"})
    equal((read.status, read.json["readSeq"], read.json["readNumber"]), (200, "2", "2"))


@case("REST", "a flagged repeat of a message or creation gives the first answer", REST)
async def _(t):
    a, b = await t.users(2)
    sa = await t.connect(a)
    conversation = (await sa.say("one", to=b))["conversation"]
    body = {"clientMsgId": wire.uuid7(), "text": {"body": "two"}}
    first = await a.rest("POST", f"/v1/conversations/{conversation}/messages", body)
    again = await a.rest("POST", f"/v1/conversations/{conversation}/messages", body | {"resend": True}, url=t.url(1))
    holds(again.status in (200, 201), f"{again.status} {again.body}")
    equal((again.json["seq"], again.json["chain"], again.json.get("duplicate")), (first.json["seq"], first.json["chain"], True))


@case("REST", "membership: POST members, DELETE member, me leaves, PATCH role", REST)
async def _(t):
    a, b, c = await t.users(3)
    group = (await a.rest("POST", "/v1/conversations", {"kind": "group", "title": "g", "members": [b.id]})).json["id"]
    for method, path, body, seq in (("POST", "members", {"users": [c.id]}, "2"), ("PATCH", f"members/{c.id}", {"role": "admin"}, "3"),
                                    ("DELETE", f"members/{b.id}", None, "4")):
        answer = await a.rest(method, f"/v1/conversations/{group}/{path}", body)
        equal((answer.status, answer.json.get("seq")), (200, seq), f"{method} {path}: {answer.body[:200]}")
    equal((await c.rest("DELETE", f"/v1/conversations/{group}/members/me")).status, 200)
    problem(await b.rest("POST", f"/v1/conversations/{group}/messages", {"clientMsgId": wire.uuid7(), "text": {"body": "x"}}), 403, "notMember")
    problem(await b.rest("POST", f"/v1/conversations/{group}/members", {"users": [b.id]}), 403, "notMember")
    problem(await b.rest("GET", f"/v1/conversations/{group}"), 403, "notMember")
    patched = await a.rest("PATCH", f"/v1/conversations/{group}", {"title": "new"})
    equal(patched.status, 200)
    equal((await a.rest("GET", f"/v1/conversations/{group}")).json["title"], "new")


@case("REST", "errors are problem+json: bad JSON 400, unknown path 404, wrong method, too large 413", REST)
async def _(t):
    a = await t.user()
    problem(await a.rest("POST", "/v1/conversations", b"{"), 400, "invalid")
    problem(await a.rest("POST", "/v1/conversations", {"kind": "group", "title": "", "members": []}), 400, "invalid")
    problem(await a.rest("GET", "/v1/nothing/here"), 404, "notFound")
    answer = await a.rest("DELETE", "/v1/users/me")
    holds(answer.status in (404, 405), f"{answer.status}")
    problem(await a.rest("POST", "/v1/conversations", b"x" * (2 << 20)), 413, "tooLarge")


@case("REST", "broken HTTP is refused and the server lives", REST)
async def _(t):
    for data in (b"GARBAGE\r\n\r\n", b"GET /v1/users/me HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\nConnection: close\r\n\r\n",
                 b"POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
                 b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"):
        try:
            answer = await rest.raw(t.url(), data, timeout=10)
        except (ConnectionError, asyncio.IncompleteReadError):
            continue
        holds(answer == b"" or b" 2" not in answer.split(b"\r\n")[0][8:11], f"{answer[:100]}")
    await t.user()


@case("REST", "path tricks stay 404", REST)
async def _(t):
    a = await t.user()
    for path in ("/v1/../etc/passwd", "/v1/%2e%2e/%2e%2e/etc/passwd", "//v1/users/me/..", "/v1/users/%00", "/v1/conversations/" + "a" * 5000):
        answer = await a.rest("GET", path)
        holds(400 <= answer.status < 500, f"{path[:40]}: {answer.status}")


@case("REST", "SQL metacharacters are data", REST)
async def _(t):
    a, b = await t.users(2)
    for text in ("' or 1=1 --", "\"; drop table users; --", "%", "\\", "$1"):
        found = await a.rest("GET", "/v1/users?query=" + "".join(f"%{c:02x}" for c in text.encode()))
        equal((found.status, b.id in [u["id"] for u in found.json.get("items", [])]), (200, False), text)
    patched = await a.rest("PATCH", "/v1/users/me", {"displayName": "Robert'); drop table users;--"})
    equal((patched.status, (await a.rest("GET", "/v1/users/me")).json["displayName"]), (200, "Robert'); drop table users;--"))


@case("REST", "openapi.json is served and names what is implemented", REST)
async def _(t):
    answer = await rest.request(t.url(), "GET", "/v1/openapi.json")
    equal(answer.status, 200)
    holds("/v1/auth/register" in answer.json.get("paths", {}), "no /v1/auth/register in its paths")
