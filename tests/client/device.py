"""A well-behaved device: every rule that protocol.md lays on a client, and nothing a user interface would add.

It takes events by the one rule for seq, asks where there is a hole, resends flagged and in order with `turn`, resumes when
asked and after every reconnect, backs off, hands over on `goaway`; and it records what it did and saw for tests/checker.
One asyncio task reads; everything else happens in its callbacks, so nothing needs a lock.
"""

import asyncio
import random
from dataclasses import dataclass, field

from . import wire
from .connection import Closed, Connection, Refused
from .recorder import Recorder, chain_hex, digest, event_line

ACK_EVERY_EVENTS = 64
ACK_EVERY_S = 1.0
ANSWER_TIMEOUT_S = 10.0
OPEN_TIMEOUT_S = 5.0
CURSORS_MAX = 700  # as many always fit a JSON frame (docs/adr/0003)
TERMINAL = range(4500, 5000)


@dataclass
class Pending:
    conversation: str
    frame: dict  # without resend, turn
    id: str
    done: asyncio.Future
    transmissions: int = 0
    request: int = 0  # reqId of the last transmission; 0: to be sent (again)
    sent_at: float = 0.0


@dataclass
class Conversation:
    """What the device knows of one conversation."""

    seq: int = 0  # the cursor: everything up to here is held
    waiting: dict = field(default_factory=dict)  # beyond a hole: seq -> event or None (an own one, known by its answer)
    asking: bool = False
    asked_upto: int = 0
    pending: dict = field(default_factory=dict)  # clientMsgId -> Pending, in order
    turn: int = 1
    flush_at: float | None = None  # after a temporary nack
    acked: int = 0
    read: int = 0


class Nacked(Exception):
    def __init__(self, nack):
        super().__init__(f"{nack.get('code')}: {nack.get('message', '')}")
        self.nack, self.code, self.temporary = nack, nack.get("code"), nack.get("temporary", False)


class Device:
    def __init__(self, account, device_id, urls, *, encoding="json", history=None, seed=None, platform="test", on_event=None):
        self.account, self.device_id, self.urls, self.encoding = account, device_id, list(urls), encoding
        self.user, self.platform, self.on_event = account.id, platform, on_event
        self.record = Recorder(history, {"f": "device", "user": account.id, "device": device_id})
        self.random = random.Random(seed)
        self.conversations = {}
        self.sync_token = ""
        self.owed = set()  # named as changed, not fetched yet
        self.requests = {}  # reqId -> Future
        self.next_request = 1
        self.connection = None
        self.successor = None  # the connection that takes over after goaway
        self.live = asyncio.Event()  # caughtUp arrived on this connection
        self.ended = None  # why the device gave up for good
        self.untold = 0  # events taken since the last `ack`
        self.quiet_since = 0.0
        self.heartbeat_s = 25.0
        self.stopping = False
        self.tasks = []

    # ---- life ----

    def start(self):
        self.tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._tick())]
        return self

    async def stop(self):
        self.stopping = True
        if self.connection:
            await self._quietly(self.connection.close())
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.record.close()

    def drop(self):
        """Loses the network."""
        if self.connection:
            self.connection.abort()

    @staticmethod
    async def _quietly(awaitable):
        try:
            await awaitable
        except (Closed, Refused, OSError, asyncio.TimeoutError):
            pass

    async def _run(self):
        failures = 0
        while not self.stopping:
            connection, self.successor = self.successor, None
            if connection is None:
                try:
                    connection = await self._open()
                except (Refused, Closed, RuntimeError, OSError, asyncio.TimeoutError):
                    failures += 1
                    await asyncio.sleep(self.random.uniform(0, min(30.0, 0.5 * 2 ** min(failures, 6))))
                    continue
            self.connection = connection
            for conversation in self.conversations.values():
                conversation.turn = 1
            self.quiet_since = self._now()
            closed = await self._read(connection)
            self._lost()
            self.record("disconnect", code=closed.code, reason=closed.reason)
            if self.successor is not None or self.stopping:
                continue
            if closed.code == 4009:
                await self._quietly(self._renew())
            elif closed.code in TERMINAL:
                self.ended = closed
                return
            failures = 0 if connection.caught_up else failures + 1
            wait = self.random.uniform(0, min(30.0, 0.5 * 2 ** min(failures, 6)))
            if closed.error and closed.error.get("retryAfterMs"):
                wait = closed.error["retryAfterMs"] / 1000
            await asyncio.sleep(wait)

    async def _renew(self):
        try:
            await self.account.renew()
        except RuntimeError:
            self.ended = Closed(4502, "authRevoked")

    async def _open(self):
        url = self.random.choice(self.urls)
        connection = await Connection.open(url, self.encoding, timeout=OPEN_TIMEOUT_S)
        connection.caught_up = False
        await connection.send({"hello": {"token": self.account.token, "deviceId": self.device_id, "platform": self.platform, "sdk": "tests/client",
                                         **self._resume_fields()}})
        self.record("connect", url=url)
        return connection

    def _resume_fields(self):
        held = [(c.seq, id_) for id_, c in self.conversations.items() if c.seq]
        fields = {"cursors": [{"conversation": id_, "seq": str(seq)} for seq, id_ in held[-CURSORS_MAX:]]}
        if self.sync_token:
            fields["syncToken"] = self.sync_token
        return fields

    async def _read(self, connection):
        try:
            while True:
                self._on_frame(connection, await connection.receive())
                self.quiet_since = self._now()
        except Closed as closed:
            return closed

    def _lost(self):
        self.live.clear()
        self.connection = None
        for request in self.requests.values():
            if not request.done():
                request.set_exception(Closed(1006, "lost"))
                request.exception()
        self.requests.clear()
        for id_, conversation in self.conversations.items():
            if conversation.waiting:
                self.owed.add(id_)
            conversation.waiting.clear()
            conversation.asking = False
            conversation.flush_at = None
            for pending in conversation.pending.values():
                pending.request = 0

    @staticmethod
    def _now():
        return asyncio.get_running_loop().time()

    async def _tick(self):
        last_ack = self._now()
        while True:
            await asyncio.sleep(0.1)
            now = self._now()
            connection = self.connection
            if connection is None:
                continue
            if now - self.quiet_since > self.heartbeat_s + 10:
                connection.abort()
                continue
            for conversation in list(self.conversations.values()):
                if conversation.flush_at is not None and now >= conversation.flush_at:
                    conversation.flush_at = None
                    self._flush(conversation)
                first = next(iter(conversation.pending.values()), None)
                if first and first.request and now - first.sent_at > ANSWER_TIMEOUT_S:
                    self._flush(conversation, again=True)
            if now - last_ack >= ACK_EVERY_S:
                last_ack = now
                self._ack()

    # ---- sending ----

    def _of(self, conversation):
        return self.conversations.setdefault(conversation, Conversation())

    def _transmit(self, frame):
        if self.connection is not None:
            task = asyncio.ensure_future(self._quietly(self.connection.send(frame)))
            self.connection.sending = task  # websockets keeps the order of concurrent sends; the reference keeps the task

    def _number(self):
        self.next_request += 1
        return self.next_request

    def send(self, text, *, conversation=None, direct_to=None):
        """Returns the Pending; its `done` gives the sendAck (or the event that settled it), or raises Nacked."""
        id_ = wire.uuid7()
        where = conversation or wire.direct_conversation(self.user, direct_to)
        frame = {"clientMsgId": id_, "text": {"body": text}, **({"conversation": conversation} if conversation else {"directTo": direct_to})}
        pending = Pending(where, frame, id_, asyncio.get_running_loop().create_future())
        state = self._of(where)
        state.pending[id_] = pending
        if self.live.is_set() and state.flush_at is None:
            self._send(state, pending)
        return pending

    def _send(self, state, pending):
        pending.request, pending.sent_at = self._number(), self._now()
        frame = dict(pending.frame, turn=state.turn)
        if pending.transmissions:
            frame["resend"] = True
        pending.transmissions += 1
        self.record("send", "invoke", conversation=pending.conversation, id=pending.id, body=digest({"text": pending.frame["text"]}),
                    **({"to": pending.frame["directTo"]} if "directTo" in pending.frame else {}))
        self._transmit({"reqId": pending.request, "send": frame})

    def _flush(self, state, again=False):
        if not self.live.is_set():
            return
        for pending in list(state.pending.values()):
            if again or not pending.request:
                self._send(state, pending)

    def _settle(self, state, id_, outcome):
        pending = state.pending.pop(id_, None)
        if pending and not pending.done.done():
            if isinstance(outcome, Exception):
                pending.done.set_exception(outcome)
                pending.done.exception()
            else:
                pending.done.set_result(outcome)

    def _on_send_ack(self, ack):
        conversation, seq = ack["conversation"], int(ack["seq"])
        state = self._of(conversation)
        duplicate = ack.get("duplicate", False)
        self.record("send", "ok", conversation=conversation, id=ack["clientMsgId"], seq=seq, number=int(ack.get("number", 0)),
                    time=int(ack.get("serverTimeMs", 0)), chain=chain_hex(ack.get("chain")), duplicate=duplicate)
        self._settle(state, ack["clientMsgId"], ack)
        state.read = max(state.read, seq)  # D29
        if not duplicate:
            self._arrive(conversation, seq, None, "ack")

    def _on_send_nack(self, request, nack):
        id_ = nack["clientMsgId"]
        state, pending = next(((s, s.pending[id_]) for s in self.conversations.values() if id_ in s.pending), (None, None))
        if pending is None:
            return
        state.turn = max(state.turn, nack.get("turn", 0))
        if request and request != pending.request:
            return  # D64: about an earlier transmission
        if not nack.get("temporary"):
            self.record("send", "fail", conversation=pending.conversation, id=id_, code=nack.get("code"))
            self._settle(state, id_, Nacked(nack))
            return
        self.record("send", "info", conversation=pending.conversation, id=id_, code=nack.get("code"))
        for each in state.pending.values():
            each.request = 0  # D65: all of them are to be sent again
        if state.flush_at is None:
            state.flush_at = self._now() + (nack.get("retryAfterMs") or 200) / 1000

    async def request(self, name, timeout=ANSWER_TIMEOUT_S, **fields):
        """One request, one answer; raises Nacked, Closed or TimeoutError."""
        await asyncio.wait_for(self.live.wait(), timeout)
        number = self._number()
        future = self.requests[number] = asyncio.get_running_loop().create_future()
        self._transmit({"reqId": number, name: fields})
        try:
            return await asyncio.wait_for(future, timeout)
        finally:
            self.requests.pop(number, None)

    async def operate(self, name, conversation="", **fields):
        """An operation with an opId, resent flagged until its outcome is certain (D18)."""
        op_id = wire.uuid7()
        if conversation:
            fields["conversation"] = conversation
        resend = {}
        while True:
            self.record("op", "invoke", op=name, id=op_id, conversation=conversation)
            try:
                result = (await self.request(name, opId=op_id, **fields, **resend))["result"]
            except Nacked as nacked:
                if not nacked.temporary:
                    self.record("op", "fail", op=name, id=op_id, code=nacked.code)
                    raise
                self.record("op", op=name, id=op_id, code=nacked.code)
                await asyncio.sleep((nacked.nack.get("retryAfterMs") or 200) / 1000)
            except (Closed, asyncio.TimeoutError):
                self.record("op", op=name, id=op_id, code="")
            else:
                seq = int(result.get("seq", 0))
                where = result.get("conversation") or conversation
                self.record("op", "ok", op=name, id=op_id, conversation=where, seq=seq)
                if seq and not result.get("duplicate"):
                    self._arrive(where, seq, None, "ack")
                return result
            resend = {"resend": True}

    async def mark_read(self, conversation, seq):
        op = wire.uuid7()
        self.record("markRead", "invoke", conversation=conversation, op=op, seq=seq)
        result = (await self.request("markRead", conversation=conversation, seq=str(seq)))["result"]
        state = self._of(conversation)
        state.read = max(state.read, int(result.get("readSeq", 0)))
        self.record("markRead", "ok", conversation=conversation, op=op, readSeq=int(result.get("readSeq", 0)), readNumber=int(result.get("readNumber", 0)))
        return result

    def _ack(self):
        changed = [(id_, c) for id_, c in self.conversations.items() if c.seq > c.acked]
        if changed and self.connection is not None:
            self.untold = 0
            for _, conversation in changed:
                conversation.acked = conversation.seq
            self._transmit({"ack": {"cursors": [{"conversation": id_, "seq": str(c.seq)} for id_, c in changed]}})

    # ---- receiving ----

    def _on_frame(self, connection, frame):
        name, fields = wire.body(frame)
        request = frame.get("reqId", 0)
        if name == "event":
            self._on_event(fields)
        elif name == "sendAck":
            self._on_send_ack(fields)
        elif name == "nack" and fields.get("clientMsgId"):
            self._on_send_nack(request, fields)
        elif request in self.requests:
            future = self.requests.pop(request)
            if not future.done():
                if name == "nack":
                    future.set_exception(Nacked(fields))
                else:
                    future.set_result(frame)
        elif name == "welcome":
            self.heartbeat_s = fields["heartbeatMs"] / 1000
        elif name == "caughtUp":
            self._on_caught_up(connection, fields)
        elif name == "resync":
            self.record("resync", reason=fields.get("reason"))
            if fields.get("reason") != "storeUnavailable":
                self.owed.update(id_ for id_, c in self.conversations.items() if c.seq)
                self.owed.update(summary["conversation"] for summary in fields.get("conversations", []))
        elif name == "marker":
            self._on_marker(fields)
        elif name == "resume":
            self.record("resume", reason=fields.get("reason"))
            asyncio.get_running_loop().call_later(self.random.uniform(0, fields.get("windowMs", 0) / 1000), self._resume, connection)
        elif name == "ping":
            self._transmit({"pong": {"t": fields.get("t", "")}})
        elif name == "goaway":
            self.record("goaway", reason=fields.get("reason"))
            self.tasks.append(asyncio.create_task(self._hand_over(connection, fields)))

    def _on_event(self, event, via=None):
        if via is None:
            via = "live" if self.live.is_set() else "replay"
        conversation = event["conversation"]
        id_ = event.get("clientMsgId")
        if id_ and event.get("sender") == self.user:
            state = self._of(conversation)
            state.read = max(state.read, int(event["seq"]))  # D29
            if id_ in state.pending:
                self.record("send", "seen", conversation=conversation, id=id_)
                self._settle(state, id_, event)
        self._arrive(conversation, int(event["seq"]), event, via)

    def _arrive(self, conversation, seq, event, via):
        """The one rule: seq <= last: drop; last + 1: take; beyond: ask."""
        state = self._of(conversation)
        if seq <= state.seq:
            if event is not None:
                self.record("event", **event_line(event), via=via, taken=False)
        elif seq == state.seq + 1 and not state.asking:
            self._take(state, seq, event, via)
            self._drain(conversation, state)
        else:
            if state.waiting.get(seq) is None:
                state.waiting[seq] = event
            self._ask(conversation, state)

    def _take(self, state, seq, event, via):
        state.seq = seq
        if event is not None:
            self.record("event", **event_line(event), via=via, taken=True)
            if self.on_event:
                self.on_event(self, event)
            self.untold += 1
            if self.untold >= ACK_EVERY_EVENTS:
                self._ack()

    def _drain(self, conversation, state, jump_upto=0):
        for seq in sorted(state.waiting):
            event = state.waiting[seq]
            if seq <= state.seq:
                del state.waiting[seq]
                if event is not None:
                    self.record("event", **event_line(event), via="live", taken=False)
            elif seq == state.seq + 1 or seq <= jump_upto:
                del state.waiting[seq]
                self._take(state, seq, event, "live")
            else:
                self._ask(conversation, state)
                return

    def _ask(self, conversation, state):
        if state.asking or self.connection is None:
            return
        state.asking = True
        self.tasks = [task for task in self.tasks if not task.done()]
        self.tasks.append(asyncio.create_task(self._fetch(conversation, state)))

    async def _fetch(self, conversation, state):
        """Everything after the cursor, by history; then what waited behind it. What the answer leaves out one may not see."""
        connection = self.connection
        while True:
            if self.connection is not connection or connection is None:
                return
            upto = max(state.waiting, default=0)
            try:
                events = await self._pages_after(conversation, state.seq) if state.seq else await self._all_pages(conversation)
            except Nacked as nacked:
                if nacked.temporary:
                    await asyncio.sleep((nacked.nack.get("retryAfterMs") or 500) / 1000)
                    continue
                self.record("history", conversation=conversation, code=nacked.code)
                events = []
            except asyncio.TimeoutError:
                continue
            except Closed:
                return
            break
        for event in events:
            if int(event["seq"]) > state.seq:
                self._settle_own(state, event)
                self._take(state, int(event["seq"]), event, "history")
        state.asking = False
        self.owed.discard(conversation)
        self._drain(conversation, state, jump_upto=upto)

    async def _page(self, conversation, **bounds):
        page = (await self.request("history", conversation=conversation, limit=200, **bounds))["historyPage"]
        events = page.get("events", [])
        self.record("history", conversation=conversation, **bounds, events=len(events), more=page.get("more", False))
        return events, page.get("more", False)

    async def _pages_after(self, conversation, seq):
        events, more = [], True
        while more:
            page, more = await self._page(conversation, afterSeq=str(int(events[-1]["seq"]) if events else seq))
            events += page
        return events

    async def _all_pages(self, conversation):
        """Backwards from the newest: nothing is held, and afterSeq 0 would mean none."""
        events, more = await self._page(conversation)
        while more:
            page, more = await self._page(conversation, beforeSeq=events[0]["seq"])
            events = page + events
        return events

    def _settle_own(self, state, event):
        id_ = event.get("clientMsgId")
        if id_ in state.pending and event.get("sender") == self.user:
            self.record("send", "seen", conversation=event["conversation"], id=id_)
            self._settle(state, id_, event)

    def _on_marker(self, marker):
        self.record("marker", conversation=marker["conversation"], user=marker["user"], readSeq=int(marker.get("readSeq", 0)),
                    readNumber=int(marker.get("readNumber", 0)), deliveredSeq=int(marker.get("deliveredSeq", 0)))
        if marker["user"] == self.user:
            state = self._of(marker["conversation"])
            state.read = max(state.read, int(marker.get("readSeq", 0)))

    def _on_caught_up(self, connection, fields):
        changed = fields.get("changed", [])
        self.record("caughtUp", changed=len(changed), more=fields.get("more", False))
        self.sync_token = fields.get("syncToken", "") or self.sync_token
        connection.caught_up = True
        self.owed.update(s["conversation"] for s in changed if int(s.get("lastSeq", 0)) > self._of(s["conversation"]).seq)
        self.live.set()
        if fields.get("more"):
            self.tasks.append(asyncio.create_task(self._page_changed()))
        for id_ in list(self.owed):
            self._ask(id_, self._of(id_))
        for state in self.conversations.values():
            if state.flush_at is None:
                self._flush(state)

    async def _page_changed(self):
        try:
            for summary in await self.summaries():
                if int(summary.get("lastSeq", 0)) > self._of(summary["conversation"]).seq:
                    self.owed.add(summary["conversation"])
                    self._ask(summary["conversation"], self._of(summary["conversation"]))
        except (Nacked, Closed, asyncio.TimeoutError):
            self.sync_token = ""  # everything counts as changed at the next resume

    async def summaries(self):
        items, cursor = [], ""
        while True:
            page = (await self.request("conversations", limit=200, **({"cursor": cursor} if cursor else {})))["conversationPage"]
            items.extend(page.get("items", []))
            cursor = page.get("nextCursor", "")
            if not cursor:
                return items

    def _resume(self, connection):
        if self.connection is connection:
            self._transmit({"resume": self._resume_fields()})

    async def _hand_over(self, connection, goaway):
        await asyncio.sleep(self.random.uniform(0, goaway.get("windowMs", 0) / 1000))
        if self.connection is not connection or self.successor is not None:
            return
        for _ in range(20):
            try:
                successor = await self._open()
                frame = await asyncio.wait_for(successor.receive(), OPEN_TIMEOUT_S)
                if "welcome" not in frame:
                    raise Refused("no welcome")
                self.successor = successor
                await self._quietly(connection.close(1000))
                return
            except (Refused, Closed, OSError, asyncio.TimeoutError):
                await asyncio.sleep(self.random.uniform(0, 0.5))
            if self.connection is not connection:
                return

    # ---- rest ----

    async def settled(self, timeout):
        """Waits until nothing is pending, asked for or waiting behind a hole."""
        deadline = self._now() + timeout
        while self._now() < deadline:
            busy = [id_ for id_, c in self.conversations.items() if c.pending or c.asking or c.waiting]
            if self.live.is_set() and not busy and not self.owed:
                return True
            if self.live.is_set():
                for id_ in list(self.owed):
                    self._ask(id_, self._of(id_))
            await asyncio.sleep(0.05)
        return False

    async def rest(self, timeout=30.0):
        """The last word of this device: resumes once more, then records what it holds. False: it did not come to rest."""
        if not await self.settled(timeout):
            return False
        self.live.clear()
        self._transmit({"resume": self._resume_fields()})
        try:
            await asyncio.wait_for(self.live.wait(), timeout)
        except asyncio.TimeoutError:
            return False
        if not await self.settled(timeout):
            return False
        summaries = await self.summaries()
        listed = {s["conversation"] for s in summaries}  # an ex-member's mark is nobody's business any more
        self.record("rest", read={id_: c.read for id_, c in self.conversations.items() if c.read and id_ in listed},
                    summaries={s["conversation"]: {"unread": int(s.get("unread", 0)), "lastSeq": int(s.get("lastSeq", 0)), "readNumber": int(s.get("readNumber", 0))}
                               for s in summaries})
        return True
