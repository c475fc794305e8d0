"""D35-D38, D49, D52: groups, rights, membership events."""

import asyncio
import time

from client import wire

from .suite import case, equal, holds, number


async def staff(t):
    """A group with one of each role, a stranger, and a socket of each."""
    users = dict(zip(("owner", "admin", "member", "other", "stranger"), await t.users(5)))
    sockets = {name: await t.connect(user, gateway=i) for i, (name, user) in enumerate(users.items())}
    group = await t.group(sockets["owner"], users["admin"], users["member"], users["other"])
    await sockets["owner"].operate("setRole", conversation=group, user=users["admin"].id, role="admin")
    return users, sockets, group


def membership(event):
    return {k: v for k, v in event["membership"].items() if v not in ("", [], "0")}


@case("D36", "created: seq 1, no number, users creator first, title; members see it, the creator's socket has its result")
async def _(t):
    a, b, c = await t.users(3)
    sa, sb, own = await t.connect(a), await t.connect(b, gateway=1), await t.connect(a, "d2", gateway=1)
    op = wire.uuid7()
    result = await sa.operate("createConversation", opId=op, kind="group", title="Ünï ", members=[b.id, c.id])
    group = result["conversation"]
    for socket in (sb, own):
        event = await socket.event(group)
        equal((number(event, "seq"), number(event, "number"), event["sender"], event["opId"]), (1, 0, a.id, op))
        equal(membership(event), {"change": "created", "users": [a.id, b.id, c.id], "title": "Ünï "})
    summary = await sb.summary(group)
    equal((summary["kind"], summary["title"], summary["role"], summary["memberCount"], number(summary, "unread")), ("group", "Ünï ", "member", 3, 0))
    equal((await sa.summary(group))["role"], "owner")
    if "event" in result:
        equal((number(result["event"], "seq"), result["event"]["membership"]["change"]), (1, "created"))


@case("D37", "creation: title 1-128 characters, known kind, existing users; the creator among the members is ignored")
async def _(t):
    a, b, sa, _ = await t.pair()
    for fields in ({"title": ""}, {"title": "x" * 129}, {"kind": "direct"}, {"kind": ""}, {"kind": "club"}):
        await sa.refused("invalid", "createConversation", **{"opId": wire.uuid7(), "kind": "group", "title": "t", "members": [b.id]} | fields)
    nack = await sa.refused("notFound", "createConversation", opId=(op := wire.uuid7()), kind="group", title="t", members=[b.id, wire.uuid7()])
    equal(nack.get("opId"), op)
    group = await t.group(sa, a, b, title="é" * 128)
    equal((await sa.summary(group))["memberCount"], 2)
    twice = await sa.operate("createConversation", kind="group", title="t", members=[b.id, b.id])
    equal((await sa.summary(twice["conversation"]))["memberCount"], 2)


@case("D36", "added, removed, left, role, muted, unmuted: one event each, seen by all, the removed one included")
async def _(t):
    a, b, c, d = await t.users(4)
    sa, sb, sc = await t.connect(a), await t.connect(b, gateway=1), await t.connect(c)
    group = await t.group(sa, b)
    await sb.event(group)
    until = str(int(time.time() * 1000) + 3_600_000)
    steps = [
        (sa, "addMembers", {"users": [c.id, d.id]}, {"change": "added", "users": [c.id, d.id]}),
        (sa, "setRole", {"user": c.id, "role": "admin"}, {"change": "role", "users": [c.id], "role": "admin"}),
        (sa, "mute", {"user": d.id, "untilMs": until}, {"change": "muted", "users": [d.id], "untilMs": until}),
        (sa, "mute", {"user": d.id, "off": True}, {"change": "unmuted", "users": [d.id]}),
        (sa, "mute", {}, {"change": "muted"}),
        (sa, "mute", {"off": True}, {"change": "unmuted"}),
        (sa, "removeMembers", {"users": [d.id]}, {"change": "removed", "users": [d.id]}),
        (sc, "leave", {}, {"change": "left", "users": [c.id]}),
        (sa, "setRole", {"user": b.id, "role": "owner"}, {"change": "role", "users": [b.id], "role": "owner"}),
    ]
    for at, (socket, name, fields, expected) in enumerate(steps, 2):
        result = await socket.operate(name, conversation=group, **fields)
        event = await sb.event(group)
        equal((number(result, "seq"), number(event, "seq"), number(event, "number")), (at, at, 0), name)
        got = membership(event)
        if expected["change"] == "added":
            got["users"], expected["users"] = sorted(got["users"]), sorted(expected["users"])
            got.pop("role", None)
        equal(got, expected, name)
        equal(event["sender"], c.id if socket is sc else a.id)
    equal(((await sb.summary(group))["role"], (await sa.summary(group))["role"]), ("owner", "admin"))
    equal([number(await sc.event(group), "seq") for _ in range(7)], [2, 3, 4, 5, 6, 7, 8])  # 9 is his own leave


@case("D37", "what changes nothing is a result without seq, and no event")
async def _(t):
    users, sockets, group = await staff(t)
    owner, other = sockets["owner"], sockets["other"]
    for name, fields in (("addMembers", {"users": [users["member"].id]}), ("removeMembers", {"users": [users["stranger"].id]}),
                         ("removeMembers", {"users": [wire.uuid7()]}), ("setRole", {"user": users["admin"].id, "role": "admin"}),
                         ("updateConversation", {"title": "group"}), ("mute", {"user": users["member"].id, "off": True})):
        result = await owner.operate(name, conversation=group, **fields)
        equal(number(result, "seq"), 0, name)
    result = await owner.operate("addMembers", conversation=group, users=[users["member"].id, users["stranger"].id])
    equal(number(result, "seq"), 3)
    equal([number(await other.event(group), "seq") for _ in range(3)], [1, 2, 3])


@case("D49", "unknown users are notFound when added; roles and mutes of non-members are notFound")
async def _(t):
    users, sockets, group = await staff(t)
    owner = sockets["owner"]
    await owner.refused("notFound", "addMembers", conversation=group, opId=wire.uuid7(), users=[users["stranger"].id, wire.uuid7()])
    await owner.refused("notFound", "setRole", conversation=group, opId=wire.uuid7(), user=users["stranger"].id, role="admin")
    await owner.refused("notFound", "mute", conversation=group, opId=wire.uuid7(), user=users["stranger"].id)
    equal((await owner.summary(group))["memberCount"], 4)
    await owner.refused("invalid", "addMembers", conversation=group, opId=wire.uuid7(), users=[])


@case("D35", "rights: what each role may not do is forbidden")
async def _(t):
    users, sockets, group = await staff(t)
    denied = {
        "member": [("addMembers", {"users": [users["stranger"].id]}), ("removeMembers", {"users": [users["other"].id]}),
                   ("setRole", {"user": users["other"].id, "role": "admin"}), ("mute", {"user": users["other"].id}), ("mute", {}),
                   ("updateConversation", {"title": "x"}), ("updateConversation", {"settings": {"membersMayAdd": True}}), ("dissolve", {})],
        "admin": [("setRole", {"user": users["member"].id, "role": "admin"}), ("dissolve", {}), ("removeMembers", {"users": [users["owner"].id]}),
                  ("mute", {"user": users["owner"].id}), ("updateConversation", {"settings": {"membersMayAdd": True}})],
        "owner": [("leave", {})],
    }
    for role, attempts in denied.items():
        for name, fields in attempts:
            nack = await sockets[role].refused("forbidden", name, conversation=group, opId=(op := wire.uuid7()), **fields)
            equal((nack.get("opId"), nack.get("temporary", False)), (op, False))
    equal(number(await sockets["owner"].say("still", conversation=group), "seq"), 3)


@case("D35", "rights: what each role may do")
async def _(t):
    users, sockets, group = await staff(t)
    allowed = [
        ("admin", "addMembers", {"users": [users["stranger"].id]}), ("admin", "updateConversation", {"title": "by admin"}),
        ("admin", "mute", {"user": users["member"].id}), ("admin", "mute", {"user": users["member"].id, "off": True}),
        ("admin", "removeMembers", {"users": [users["stranger"].id]}),
        ("owner", "mute", {"user": users["admin"].id}), ("owner", "setRole", {"user": users["admin"].id, "role": "member"}),
        ("owner", "updateConversation", {"settings": {"membersMayAdd": True}}), ("member", "addMembers", {"users": [users["stranger"].id]}),
        ("stranger", "leave", {}), ("owner", "removeMembers", {"users": [users["admin"].id]}), ("owner", "dissolve", {}),
    ]
    for at, (role, name, fields) in enumerate(allowed, 3):
        equal(number(await sockets[role].operate(name, conversation=group, **fields), "seq"), at, f"{role} {name}")


@case("D35", "muted members cannot send; mute-all spares admins and owner; untilMs ends by itself")
async def _(t):
    users, sockets, group = await staff(t)

    async def speaks(role):
        got, body = await sockets[role].ask("send", conversation=group, clientMsgId=wire.uuid7(), text={"body": "x"})
        return True if got == "sendAck" else body["code"]

    await sockets["owner"].operate("mute", conversation=group, user=users["member"].id)
    equal([await speaks("member"), await speaks("other")], ["muted", True])
    await sockets["owner"].operate("mute", conversation=group, user=users["member"].id, off=True)
    await sockets["admin"].operate("mute", conversation=group)
    equal([await speaks(r) for r in ("member", "other", "admin", "owner")], ["muted", "muted", True, True])
    await sockets["admin"].operate("mute", conversation=group, off=True)
    await sockets["owner"].operate("mute", conversation=group, user=users["member"].id, untilMs=str(int(time.time() * 1000) + 1500))
    equal(await speaks("member"), "muted")
    deadline = time.monotonic() + 6
    while (said := await speaks("member")) is not True:
        equal(said, "muted")
        holds(time.monotonic() < deadline, "muted for ever")


@case("D35", "membership operations, rename, mute, leave, dissolve on direct and self conversations are forbidden")
async def _(t):
    a, b, sa, _ = await t.pair()
    for conversation in ((await sa.say(to=b))["conversation"], (await sa.say(to=a))["conversation"]):
        for name, fields in (("addMembers", {"users": [b.id]}), ("removeMembers", {"users": [b.id]}), ("setRole", {"user": b.id, "role": "admin"}),
                             ("mute", {"user": b.id}), ("updateConversation", {"title": "x"}), ("leave", {}), ("dissolve", {})):
            await sa.refused("forbidden", name, conversation=conversation, opId=wire.uuid7(), **fields)


@case("D35", "@all: of admins and owner only, when mentionAllAdmins is set")
async def _(t):
    users, sockets, group = await staff(t)

    async def mention(role):
        got, body = await sockets[role].ask("send", conversation=group, clientMsgId=wire.uuid7(), text={"body": "@all", "mentions": ["all"]})
        return True if got == "sendAck" else body["code"]

    equal(await mention("member"), True)
    await sockets["owner"].operate("updateConversation", conversation=group, settings={"mentionAllAdmins": True})
    equal([await mention(r) for r in ("member", "admin", "owner")], ["forbidden", True, True])


@case("D37", "the last owner leaves after a transfer, or alone; a left user may be added again")
async def _(t):
    a, b, sa, sb = await t.pair()
    group = await t.group(sa, b)
    await sa.refused("forbidden", "leave", conversation=group, opId=wire.uuid7())
    await sa.operate("setRole", conversation=group, user=b.id, role="owner")
    await sa.operate("leave", conversation=group)
    await sa.refused("notMember", "send", conversation=group, clientMsgId=wire.uuid7(), text={"body": "x"})
    await sb.operate("addMembers", conversation=group, users=[a.id])
    await sa.say("back", conversation=group)
    alone = await t.group(sa)
    equal(number(await sa.operate("leave", conversation=alone), "seq"), 2)


@case("D37", "dissolve makes everyone an ex-member at that event")
async def _(t):
    a, b, sa, sb = await t.pair()
    group = await t.group(sa, b)
    await sa.say("x", conversation=group)
    result = await sa.operate("dissolve", conversation=group)
    equal(number(result, "seq"), 3)
    events = [await sb.event(group) for _ in range(3)]
    equal((number(events[2], "seq"), events[2]["conversationChanged"].get("dissolved")), (3, True))
    for socket in (sa, sb):
        await socket.refused("notMember", "send", conversation=group, clientMsgId=wire.uuid7(), text={"body": "x"})
        equal(await socket.summary(group), None)
        equal([number(e, "seq") for e in (await socket.history(group))["events"]], [1, 2, 3])


@case("D35", "updateConversation: the event has the changed fields; empty ones clear")
async def _(t):
    a, b, sa, sb = await t.pair()
    group = await t.group(sa, b)
    await sb.event(group)
    for fields in ({"title": "new", "notice": "n", "avatar": "v", "description": "d"}, {"notice": ""}, {"settings": {"membersMayAdd": True}}):
        await sa.operate("updateConversation", conversation=group, **fields)
        changed = (await sb.event(group))["conversationChanged"]
        equal({k: v for k, v in changed.items() if k in fields}, fields)
        holds(set(changed) <= set(fields) | {"dissolved"}, f"{changed} of {fields}")
    equal((await sb.summary(group))["title"], "new")
    await sa.refused("invalid", "updateConversation", conversation=group, opId=wire.uuid7(), title="x" * 129)
    await sa.refused("invalid", "updateConversation", conversation=group, opId=wire.uuid7(), title="")


@case("D52", "historyForNewMembers opens the past to present members, and switching it off takes nothing back")
async def _(t):
    a, b, c, d = await t.users(4)
    sa, sb, sc, sd = [await t.connect(u, gateway=i) for i, u in enumerate((a, b, c, d))]
    group = await t.group(sa)
    await sa.say("past", conversation=group)  # 2
    await sa.operate("addMembers", conversation=group, users=[b.id])  # 3
    await sa.operate("updateConversation", conversation=group, settings={"historyForNewMembers": True})  # 4
    await sa.operate("addMembers", conversation=group, users=[c.id])  # 5
    await sa.operate("updateConversation", conversation=group, settings={"historyForNewMembers": False})  # 6
    await sa.operate("addMembers", conversation=group, users=[d.id])  # 7
    for socket, first in ((sb, 1), (sc, 1), (sd, 7)):
        equal([number(e, "seq") for e in (await socket.history(group)).get("events", [])], list(range(first, 8)))
        equal(number(await socket.summary(group), "firstSeq"), first)


@case("D35", "an addition races a removal: every device sees one order and the fold decides", encodings=("json",))
async def _(t):
    a, b, c = await t.users(3)
    sa, sa2, sb = await t.connect(a), await t.connect(a, "d2", gateway=1), await t.connect(b, gateway=1)
    group = await t.group(sa, b)
    await asyncio.gather(*(s.operate(n, conversation=group, users=[c.id]) for s, n in ((sa, "addMembers"), (sa2, "removeMembers"), (sa, "removeMembers"), (sa2, "addMembers"))))
    await sa.say("fence", conversation=group)
    page = await sb.history(group)
    live = [await sb.event(group) for _ in page["events"]]
    equal([e["chain"] for e in live], [e["chain"] for e in page["events"]])
