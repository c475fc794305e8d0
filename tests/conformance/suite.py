"""Cases, and what a case stands on: fresh users, sockets that say what they expect, and the order in which it all runs."""

import asyncio
import contextlib
import itertools
import json
import time
import traceback
from dataclasses import dataclass

from client import rest, wire
from client.connection import Closed, Connection, Refused

CASES = []
WAIT_S = 8.0


@dataclass
class Case:
    rule: str
    title: str
    run: object
    encodings: tuple
    alone: bool


def case(rule, title, encodings=("json", "pb"), alone=False):
    """`alone`: not beside others (it measures time, or loads the server)."""

    def register(function):
        CASES.append(Case(rule, title, function, encodings, alone))
        return function

    return register


JSON_ONLY = ("json",)
PB_ONLY = ("pb",)
REST = ("rest",)


class Skip(Exception):
    """The endpoint's settings do not allow this case to be run."""


class Failure(AssertionError):
    pass


def equal(actual, expected, what=""):
    if actual != expected:
        raise Failure(f"{what + ': ' if what else ''}expected {expected!r}, got {actual!r}")


def holds(condition, what):
    if not condition:
        raise Failure(what)


def number(fields, name):
    """A 64-bit field; absent is 0."""
    return int(fields.get(name, 0))


def without_defaults(value):
    if isinstance(value, dict):
        return {k: without_defaults(v) for k, v in value.items() if v not in (0, "", "0", False, [], None)}
    if isinstance(value, list):
        return [without_defaults(v) for v in value]
    return value


class Socket:
    """One connection. A task reads into the inbox; expectations take frames out of it, in any order between kinds."""

    def __init__(self, connection, t):
        self.connection, self.t = connection, t
        self.inbox, self.arrived = [], asyncio.Event()
        self.end = None
        self.numbers = itertools.count(1)
        self.answer_pings = True
        self.welcome, self.caught_up, self.before_caught_up = None, None, []
        self.reader = asyncio.create_task(self._read())

    async def _read(self):
        try:
            while True:
                frame = await self.connection.receive()
                if self.connection.encoding == "json":
                    printed = wire.canonical(frame)
                    if without_defaults(printed) != without_defaults(frame):
                        self.inbox.append({"malformed": {"sent": frame, "canonical": printed}})  # D3: never matches, always shown
                if "ping" in frame and self.answer_pings:
                    await self.connection.send({"pong": {"t": frame["ping"].get("t", "")}})
                    continue
                self.inbox.append(frame)
                self.arrived.set()
        except Closed as closed:
            self.end = closed
        except Exception as error:  # an undecodable frame fails whoever waits
            self.end = Closed(-1, f"unreadable frame: {error}")
        self.arrived.set()

    async def take(self, match, what, timeout=WAIT_S):
        """The first frame for which match(name, fields, frame) is true, removed from the inbox."""
        deadline = time.monotonic() + timeout
        while True:
            for index, frame in enumerate(self.inbox):
                name, fields = wire.body(frame)
                if name == "malformed":
                    raise Failure(f"not canonical JSON: {fields}")
                if match(name, fields, frame):
                    del self.inbox[index]
                    return frame
            if self.end is not None:
                raise Failure(f"{what}: {self.end} (error frame: {self.end.error}); unread: {self._unread()}")
            self.arrived.clear()
            try:
                await asyncio.wait_for(self.arrived.wait(), max(0.001, deadline - time.monotonic()))
            except asyncio.TimeoutError:
                raise Failure(f"no {what} within {timeout:g} s; unread: {self._unread()}") from None

    def _unread(self):
        return json.dumps(self.inbox[-6:])[:600]

    async def next(self, name, timeout=WAIT_S, **match):
        """The next frame with this body whose fields have these values; returns the body's fields."""

        def matches(found, fields, _):
            return found == name and all(str(fields.get(k)) == str(v) for k, v in match.items())

        return wire.body(await self.take(matches, f"{name} {match or ''}", timeout))[1]

    async def event(self, conversation, timeout=WAIT_S):
        """The very next event of that conversation, whatever it is."""
        return wire.body(await self.take(lambda n, f, _: n == "event" and f["conversation"] == conversation, f"event of {conversation}", timeout))[1]

    async def fresh(self, conversation, after):
        """The next event of that conversation above seq `after`: where a router died, others may be repeated (the one rule for seq)."""
        while True:
            event = await self.event(conversation)
            if int(event["seq"]) > after:
                return event

    async def post(self, frame):
        await self.connection.send(frame)

    async def raw(self, payload):
        await self.connection.send_raw(payload)

    async def ask(self, name, **fields):
        """(name, fields) of the one answer that bears our reqId (D2)."""
        request = next(self.numbers)
        await self.post({"reqId": request, name: fields})
        return wire.body(await self.take(lambda n, f, frame: frame.get("reqId") == request, f"answer to {name}"))

    async def expect(self, answer, name, **fields):
        got, body = await self.ask(name, **fields)
        if got != answer:
            raise Failure(f"{name}: expected {answer}, got {got} {body}")
        return body

    async def refused(self, code, name, **fields):
        body = await self.expect("nack", name, **fields)
        equal(body.get("code"), code, f"nack of {name} ({body.get('message')})")
        return body

    async def say(self, text="hi", *, to=None, conversation=None, **more):
        """Sends a text, returns its sendAck."""
        where = {"directTo": to.id if hasattr(to, "id") else to} if to else {"conversation": conversation}
        return await self.expect("sendAck", "send", clientMsgId=more.pop("clientMsgId", None) or wire.uuid7(), text={"body": text}, **where, **more)

    async def operate(self, name, **fields):
        return await self.expect("result", name, opId=fields.pop("opId", None) or wire.uuid7(), **fields)

    async def closed(self, code, name, error=None, timeout=WAIT_S):
        """Waits for this close, and for the `error` frame before it (D10)."""
        codes = code if isinstance(code, tuple) else (code,)
        deadline = time.monotonic() + timeout
        while self.end is None and time.monotonic() < deadline:
            self.arrived.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.arrived.wait(), max(0.001, deadline - time.monotonic()))
        holds(self.end is not None, f"not closed within {timeout:g} s (expected {code} {name}); unread: {self._unread()}")
        holds(self.end.code in codes, f"expected close {code} {name}, got {self.end}; unread: {self._unread()}")
        if self.end.code < 4000:
            return self.end
        equal(self.end.reason, name, "close reason")
        holds(self.end.error is not None, "no `error` frame before the close")
        if error:
            equal(self.end.error.get("code"), error, "error.code")
        now = {4001, 4003, 4007, 4009}
        equal(self.end.error.get("reconnect"), "never" if self.end.code >= 4500 else "now" if self.end.code in now else "backoff", "error.reconnect")
        return self.end

    async def alive(self):
        """The socket still works."""
        equal(await self.expect("pong", "ping", t="alive?"), {"t": "alive?"})

    async def history(self, conversation, **fields):
        return await self.expect("historyPage", "history", conversation=conversation, **fields)

    async def summary(self, conversation):
        cursor = ""
        while True:
            page = await self.expect("conversationPage", "conversations", limit=200, **({"cursor": cursor} if cursor else {}))
            for item in page.get("items", []):
                if item["conversation"] == conversation:
                    return item
            cursor = page.get("nextCursor", "")
            if not cursor:
                return None

    async def close(self):
        with contextlib.suppress(Exception):
            await self.connection.close()
        self.reader.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await self.reader


class Context:
    """What one case gets. Everything it opens is closed after it."""

    def __init__(self, options, encoding):
        self.urls, self.encoding, self.options = options.urls, encoding if encoding != "rest" else "json", options
        self.sockets = []

    def url(self, gateway=0):
        return self.urls[gateway % len(self.urls)]

    async def user(self, name=None):
        return await rest.Account.register(self.url(), name)

    async def users(self, count):
        return await asyncio.gather(*(self.user() for _ in range(count)))

    async def open(self, gateway=0, encoding=None, **options):
        """A socket before hello."""
        connection = await Connection.open(self.url(gateway), encoding or self.encoding, timeout=10, **options)
        socket = Socket(connection, self)
        self.sockets.append(socket)
        return socket

    async def connect(self, account, device="d1", gateway=0, token=None, encoding=None, wait=True, **hello):
        """A socket that said hello and is caught up; what came before `caughtUp` is in `before_caught_up`."""
        socket = await self.open(gateway, encoding)
        await socket.post({"hello": {"token": token or account.token, "deviceId": device, "platform": "test", "sdk": "conformance", **hello}})
        socket.welcome = await socket.next("welcome")
        if wait:
            await self.caught_up(socket)
        return socket

    async def caught_up(self, socket, timeout=WAIT_S):
        """Waits for `caughtUp` and sets aside what came before it."""
        frame = await socket.take(lambda n, f, _: n == "caughtUp", "caughtUp", timeout)
        socket.caught_up = frame["caughtUp"]
        return socket.caught_up

    async def pair(self):
        """Two users and a socket of each, on different gateways where there are two."""
        a, b = await self.users(2)
        return a, b, await self.connect(a), await self.connect(b, gateway=1)

    async def group(self, socket, *members, title="group"):
        result = await socket.operate("createConversation", kind="group", title=title, members=[m.id for m in members])
        equal(number(result, "seq"), 1, "seq of a created group")
        return result["conversation"]

    async def cleanup(self):
        await asyncio.gather(*(socket.close() for socket in self.sockets), return_exceptions=True)


@dataclass
class Outcome:
    case: Case
    encoding: str
    status: str  # pass, FAIL, skip
    detail: str = ""
    seconds: float = 0.0


async def run_one(item, encoding, options):
    context, started = Context(options, encoding), time.monotonic()
    status, detail = "pass", ""
    try:
        await asyncio.wait_for(item.run(context), options.case_timeout)
    except Skip as skip:
        status, detail = "skip", str(skip)
    except (Failure, Refused, Closed) as failure:
        frames = [f for f in traceback.extract_tb(failure.__traceback__) if "cases_" in f.filename]
        status, detail = "FAIL", (f"line {frames[-1].lineno}: " if frames else "") + f"{failure}"
    except asyncio.TimeoutError:
        status, detail = "FAIL", f"not done within {options.case_timeout} s"
    except Exception as error:
        status, detail = "FAIL", f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=-4)}"
    finally:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(context.cleanup(), 5)
    return Outcome(item, encoding, status, detail, time.monotonic() - started)


async def run_all(options, cases, told):
    """Runs what may run together, at most `options.parallel` at once, then the rest one by one."""
    gate = asyncio.Semaphore(options.parallel)

    async def gated(item, encoding):
        async with gate:
            outcome = await run_one(item, encoding, options)
            told(outcome)
            return outcome

    jobs = [(item, encoding) for item in cases for encoding in item.encodings if encoding in options.encodings]
    outcomes = await asyncio.gather(*(gated(item, encoding) for item, encoding in jobs if not item.alone))
    for item, encoding in jobs:
        if item.alone:
            outcomes.append(await gated(item, encoding))
    return outcomes
