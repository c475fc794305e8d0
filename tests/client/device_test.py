"""The device against a scripted server: each rule that protocol.md lays on clients, seen from the server's side."""

import asyncio
import unittest

import websockets

from . import wire
from .device import Device, Nacked

ME = "00000000-0000-7000-8000-00000000000a"
PEER = "00000000-0000-7000-8000-00000000000b"
HERE = wire.direct_conversation(ME, PEER)


class Someone:
    id, token = ME, "token"


def event(seq, conversation=HERE, sender=PEER, **more):
    return {"event": {"conversation": conversation, "seq": str(seq), "number": str(seq), "sender": sender, "senderDevice": "x", "clientMsgId": wire.uuid7(),
                      "serverTimeMs": str(1000 + seq), "chain": "AAAA", "message": {"text": {"body": f"m{seq}"}}} | more}


class Script:
    """One connection of the device, as the server sees it."""

    def __init__(self, ws):
        self.ws, self.done = ws, asyncio.Event()

    async def say(self, frame):
        await self.ws.send(wire.encode(frame, "json"))

    async def hear(self, name):
        """The next frame with this body; acks and pongs come when they like."""
        while True:
            frame = wire.decode(await asyncio.wait_for(self.ws.recv(), 5), "json")
            got = wire.body(frame)[0]
            if got == name:
                return frame
            if got not in ("ack", "pong"):
                raise AssertionError(f"expected {name}, heard {frame}")

    async def welcome(self, token="t1", **caught_up):
        hello = (await self.hear("hello"))["hello"]
        await self.say({"welcome": {"sessionId": wire.uuid7(), "userId": ME, "heartbeatMs": 25000, "limits": {}}})
        await self.say({"caughtUp": {"syncToken": token, **caught_up}})
        return hello

    async def ack(self, send, seq, **more):
        fields = send["send"]
        await self.say({"reqId": send["reqId"], "sendAck": {"conversation": HERE, "seq": str(seq), "number": str(seq), "clientMsgId": fields["clientMsgId"],
                                                            "serverTimeMs": "1", "chain": "AAAA", **more}})


class DeviceRules(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        asyncio.get_running_loop().set_debug(False)
        self.connections = asyncio.Queue()

        async def serve(ws):
            script = Script(ws)
            await self.connections.put(script)
            await ws.wait_closed()

        self.server = await websockets.serve(serve, "127.0.0.1", 0, subprotocols=["parley.v1.json"], compression=None)
        port = self.server.sockets[0].getsockname()[1]
        self.device = Device(Someone(), "d1", [f"http://127.0.0.1:{port}"], seed=1).start()
        self.script = await self.next_connection()

    async def next_connection(self):
        return await asyncio.wait_for(self.connections.get(), 10)

    async def asyncTearDown(self):
        await self.device.stop()
        self.server.close()

    def taken(self, conversation=HERE):
        return [line["seq"] for line in self.device.record.lines if line["f"] == "event" and line["taken"] and line["conversation"] == conversation]

    async def until(self, condition):
        async def poll():
            while not condition():
                await asyncio.sleep(0.01)

        await asyncio.wait_for(poll(), 5)

    async def test_repeats_are_dropped_and_a_hole_is_asked_about(self):
        await self.script.welcome()
        for seq in (1, 2, 2, 1):
            await self.script.say(event(seq))
        await self.script.say(event(5))
        ask = await self.script.hear("history")
        self.assertEqual(ask["history"], {"conversation": HERE, "limit": 200, "afterSeq": "2"})
        await self.script.say(event(6))
        await self.script.say({"reqId": ask["reqId"], "historyPage": {"conversation": HERE, "events": [event(3)["event"], event(4)["event"], event(5)["event"]]}})
        await self.until(lambda: self.taken() == [1, 2, 3, 4, 5, 6])

    async def test_what_history_leaves_out_one_may_not_see(self):
        await self.script.welcome()
        await self.script.say(event(1))
        await self.script.say(event(9))
        ask = await self.script.hear("history")
        await self.script.say({"reqId": ask["reqId"], "historyPage": {"conversation": HERE}})
        await self.script.say(event(10))
        await self.until(lambda: self.taken() == [1, 9, 10])

    async def test_own_ack_moves_the_cursor_a_duplicate_does_not(self):
        await self.script.welcome()
        await self.script.say(event(1))
        pending = self.device.send("x", direct_to=PEER)
        send = await self.script.hear("send")
        self.assertNotIn("resend", send["send"])
        await self.script.ack(send, 2)
        await pending.done
        await self.script.say(event(3))
        await self.until(lambda: self.device.conversations[HERE].seq == 3)
        pending = self.device.send("y", direct_to=PEER)
        await self.script.ack(await self.script.hear("send"), 4, duplicate=True)
        await pending.done
        self.assertEqual(self.device.conversations[HERE].seq, 3)

    async def test_after_a_reconnect_pending_sends_go_flagged_in_order_before_new_ones(self):
        await self.script.welcome()
        await self.script.say(event(1))
        await self.until(lambda: self.taken() == [1])
        first, second = self.device.send("1", direct_to=PEER), self.device.send("2", direct_to=PEER)
        await self.script.hear("send"), await self.script.hear("send")
        self.script.ws.transport.abort()
        script = await self.next_connection()
        third = self.device.send("3", direct_to=PEER)
        hello = await script.welcome()
        self.assertEqual((hello["cursors"], hello["syncToken"]), ([{"conversation": HERE, "seq": "1"}], "t1"))
        sends = [await script.hear("send") for _ in range(3)]
        self.assertEqual([s["send"]["clientMsgId"] for s in sends], [first.id, second.id, third.id])
        self.assertEqual([s["send"].get("resend", False) for s in sends], [True, True, False])

    async def test_a_temporary_nack_sends_all_again_with_the_new_turn(self):
        await self.script.welcome()
        pendings = [self.device.send(str(i), direct_to=PEER) for i in range(3)]
        sends = [await self.script.hear("send") for _ in pendings]
        self.assertEqual([s["send"]["turn"] for s in sends], [1, 1, 1])
        for send, code in zip(sends, ("unavailable", "outOfTurn", "outOfTurn")):
            await self.script.say({"reqId": send["reqId"], "nack": {"clientMsgId": send["send"]["clientMsgId"], "code": code, "temporary": True, "retryAfterMs": 20, "turn": 2}})
        again = [await self.script.hear("send") for _ in pendings]
        self.assertEqual([(s["send"]["clientMsgId"], s["send"]["turn"], s["send"]["resend"]) for s in again], [(p.id, 2, True) for p in pendings])

    async def test_a_final_nack_of_the_last_transmission_fails_the_send_one_of_an_earlier_does_not(self):
        await self.script.welcome()
        pending = self.device.send("x", direct_to=PEER)
        first = await self.script.hear("send")
        await self.script.say({"reqId": first["reqId"], "nack": {"clientMsgId": pending.id, "code": "unavailable", "temporary": True, "retryAfterMs": 10, "turn": 2}})
        second = await self.script.hear("send")
        nack = {"clientMsgId": pending.id, "code": "blocked"}
        await self.script.say({"reqId": first["reqId"], "nack": nack})
        await self.script.say({"reqId": second["reqId"], "nack": nack | {"code": "muted"}})
        with self.assertRaises(Nacked) as raised:
            await pending.done
        self.assertEqual(raised.exception.code, "muted")

    async def test_an_own_event_settles_the_pending_send(self):
        await self.script.welcome()
        pending = self.device.send("x", direct_to=PEER)
        await self.script.hear("send")
        await self.script.say(event(1, sender=ME, clientMsgId=pending.id))
        await asyncio.wait_for(pending.done, 5)

    async def test_resumes_when_asked_and_fetches_what_changed(self):
        await self.script.welcome()
        await self.script.say(event(1))
        await self.until(lambda: self.taken() == [1])
        await self.script.say({"resume": {"reason": "gap", "windowMs": 30}})
        resume = await self.script.hear("resume")
        self.assertEqual(resume["resume"], {"cursors": [{"conversation": HERE, "seq": "1"}], "syncToken": "t1"})
        other = wire.direct_conversation(ME, ME)
        await self.script.say({"caughtUp": {"syncToken": "t2", "changed": [{"conversation": other, "kind": "self", "lastSeq": "3"}]}})
        ask = await self.script.hear("history")
        self.assertEqual(ask["history"], {"conversation": other, "limit": 200})
        await self.script.say({"reqId": ask["reqId"], "historyPage": {"conversation": other, "events": [event(3, other)["event"]], "more": True}})
        ask = await self.script.hear("history")
        self.assertEqual(ask["history"], {"conversation": other, "limit": 200, "beforeSeq": "3"})
        await self.script.say({"reqId": ask["reqId"], "historyPage": {"conversation": other, "events": [event(1, other)["event"], event(2, other)["event"]]}})
        await self.until(lambda: self.taken(other) == [1, 2, 3])
        self.assertEqual(self.device.sync_token, "t2")

    async def test_goaway_opens_the_new_socket_first(self):
        await self.script.welcome()
        pending = self.device.send("x", direct_to=PEER)
        await self.script.hear("send")
        await self.script.say({"goaway": {"reason": "drain", "windowMs": 10, "deadlineMs": "1"}})
        successor = await self.next_connection()
        self.assertFalse(self.script.ws.closed)
        await successor.welcome()
        await asyncio.wait_for(self.script.ws.wait_closed(), 5)
        self.assertEqual(self.script.ws.close_code, 1000)
        send = await successor.hear("send")
        self.assertEqual((send["send"]["clientMsgId"], send["send"]["resend"]), (pending.id, True))

    async def test_acks_every_64_events(self):
        await self.script.welcome()
        for seq in range(1, 65):
            await self.script.say(event(seq))
        while True:
            frame = wire.decode(await asyncio.wait_for(self.script.ws.recv(), 5), "json")
            if frame.get("ack", {}).get("cursors") == [{"conversation": HERE, "seq": "64"}]:
                break

    async def test_a_terminal_close_is_the_end(self):
        await self.script.welcome()
        await self.script.say({"error": {"code": "unauthenticated", "reconnect": "never"}})
        await self.script.ws.close(4508, "loggedOut")
        await self.until(lambda: self.device.ended is not None)
        self.assertEqual((self.device.ended.code, self.connections.qsize()), (4508, 0))


if __name__ == "__main__":
    unittest.main()
