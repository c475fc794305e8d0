"""The cluster profile with real Kafka and PostgreSQL: what it promises while nothing fails, and while one thing does.

PRESET chooses the binaries."""

import asyncio
import time
import unittest

from client import wire
from client.connection import Closed
from client.rest import Account
from harness.cluster import Cluster

from .base import OnACluster


def setUpModule():
    Integration.cluster = Cluster("cluster", overrides={"gateway.heartbeat_ms": 5000}, send_limit=False).__enter__()


def tearDownModule():
    Integration.cluster.__exit__(None, None, None)


class Integration(OnACluster):
    async def test_one_log_two_gateways_one_row_each(self):
        a, b, sa, sb = await self.t.pair()
        acks = []
        for i in range(20):
            acks.append(await sa.say(f"a{i}", to=b))
            acks.append(await sb.say(f"b{i}", to=a))
        conversation = acks[0]["conversation"]
        self.assertEqual([int(k["seq"]) for k in acks], list(range(1, 41)))
        for socket, user, own in ((sa, a, 0), (sb, b, 1)):
            events, last = [], 0
            while len(events) < 20:
                event = await socket.fresh(conversation, last)
                last = int(event["seq"])
                if event["sender"] != user.id:  # while a partition moves, two owners may tell one outcome: the sender's again as an event (R23)
                    events.append(event)
            self.assertEqual([e["chain"] for e in events], [k["chain"] for k in acks[1 - own::2]])
        await sb.history(conversation, limit=1)  # behind the barrier: everything is stored
        rows = self.cluster.psql(f"select seq, id from events where conversation = '{conversation}' order by seq, id")
        self.assertEqual(rows.splitlines(), [f"{k['seq']}|{k['clientMsgId']}" for k in acks])
        # All of the conversation is in one partition, below its position; marks may follow above.
        partition, records = self.cluster.psql(
            f"select partition, next_offset from positions where partition in (select partition from events where conversation = '{conversation}')").split("|")
        consumed = await asyncio.to_thread(
            self.cluster.kafka_tool, "org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", self.cluster.brokers, "--topic", "parley.log", "--partition", partition, "--offset", "earliest",
            "--formatter-property", "print.key=true", "--formatter-property", "print.value=false", "--max-messages", records, "--timeout-ms", "60000", timeout=120)
        keyed = [line for line in consumed.splitlines() if conversation in line]
        self.assertEqual(len(keyed), 40)

    async def test_killed_gateway_loses_nothing(self):
        async def disturb():
            await asyncio.to_thread(self.cluster.gateways[0].kill)
            await asyncio.sleep(1)
            await asyncio.to_thread(self.cluster.gateways[0].start)

        await self.under_load(disturb)

    async def test_killed_router_loses_nothing(self):
        async def disturb():
            await asyncio.to_thread(self.cluster.routers[0].kill)
            await asyncio.sleep(4)
            await asyncio.to_thread(self.cluster.routers[0].start)

        await self.under_load(disturb)

    async def test_paused_router_that_goes_on_doubles_nothing(self):
        async def disturb():
            self.cluster.routers[1].pause()
            await asyncio.sleep(5)
            self.cluster.routers[1].resume()

        await self.under_load(disturb)

    async def test_killed_persister_stores_exactly_once(self):
        async def disturb():
            for _ in range(3):
                await asyncio.to_thread(self.cluster.persisters[0].restart)
                await asyncio.sleep(0.7)

        await self.under_load(disturb)

    async def test_restarted_postgres_and_kafka_under_load(self):
        async def disturb():
            await asyncio.to_thread(self.cluster.postgres.restart)
            await asyncio.sleep(2)
            await asyncio.to_thread(self.cluster.kafka.restart)

        await self.under_load(disturb, seconds_after=6.0)

    async def test_router_takeover_within_three_seconds(self):
        users = await self.t.users(9)
        sockets = [await self.t.connect(user, gateway=i) for i, user in enumerate(users)]
        groups = [await self.t.group(sockets[0], *users[1:]) for _ in range(8)]  # over all partitions
        for group in groups:
            await sockets[0].say("warm", conversation=group)
        await asyncio.to_thread(self.cluster.routers[0].kill)
        started = time.monotonic()

        async def insist(socket, group):
            id_, again = wire.uuid7(), {}
            while True:
                got, body = await socket.ask("send", conversation=group, clientMsgId=id_, text={"body": "after"}, **again)
                if got == "sendAck":
                    return time.monotonic() - started
                self.assertTrue(body.get("temporary"), body)
                again = {"resend": True}
                await asyncio.sleep(0.1)

        took = await asyncio.gather(*(insist(s, g) for s, g in zip(sockets, groups)))
        self.assertLess(max(took), 3.0, f"seconds until each conversation answered: {[round(x, 2) for x in took]}")

    async def test_postgres_away_live_goes_on_and_resume_waits_for_it(self):
        a, b, sa, sb = await self.t.pair()
        conversation = (await sa.say("warm", to=b))["conversation"]
        await sb.event(conversation)
        await asyncio.to_thread(self.cluster.postgres.stop)
        try:
            for i in range(10):
                ack = await sa.say(f"away {i}", conversation=conversation)
                self.assertEqual((await sb.fresh(conversation, int(ack["seq"]) - 1))["seq"], ack["seq"])
            token = sb.caught_up["syncToken"]
            await sb.post({"resume": {"cursors": [{"conversation": conversation, "seq": "1"}], "syncToken": token}})
            self.assertEqual((await sb.next("resync", timeout=6))["reason"], "storeUnavailable")
            self.assertEqual((await self.t.caught_up(sb))["syncToken"], token)
            code = await sb.refused("unavailable", "history", conversation=conversation)  # D63
            self.assertTrue(code["temporary"])
            self.assertEqual((await sa.say("still live", conversation=conversation))["seq"], "12")
            self.assertEqual((await sb.fresh(conversation, 11))["seq"], "12")
        finally:
            await asyncio.to_thread(self.cluster.postgres.start)
        asked = await sb.next("resume", timeout=20)
        self.assertTrue(asked.get("reason"))
        sb.inbox.clear()
        await sb.post({"resume": {"cursors": [{"conversation": conversation, "seq": "1"}]}})
        await self.t.caught_up(sb)
        self.assertEqual([f["event"]["seq"] for f in sb.inbox if "event" in f], [str(i) for i in range(2, 13)])
        self.assertEqual(self.cluster.psql(f"select count(*), count(distinct seq), max(seq) from events where conversation = '{conversation}'"), "12|12|12")

    async def test_kafka_away_sends_fail_fast_and_work_again(self):
        a, b, sa, sb = await self.t.pair()
        conversation = (await sa.say("warm", to=b))["conversation"]
        await asyncio.to_thread(self.cluster.kafka.kill)
        ids = []
        try:
            for _ in range(3):
                started = time.monotonic()
                nack = await sa.refused("unavailable", "send", conversation=conversation, clientMsgId=(id_ := wire.uuid7()), text={"body": id_})
                ids.append(id_)
                self.assertTrue(nack["temporary"])
                self.assertLess(time.monotonic() - started, 2.0)
        finally:
            await asyncio.to_thread(self.cluster.kafka.start)

        async def insist():
            for id_ in ids:
                while True:
                    got, body = await sa.ask("send", conversation=conversation, clientMsgId=id_, text={"body": id_}, resend=True)
                    if got == "sendAck":
                        break
                    self.assertTrue(body.get("temporary"), body)
                    await asyncio.sleep(body.get("retryAfterMs", 100) / 1000)

        try:
            await asyncio.wait_for(insist(), 30)
        except Closed:  # R24: an expired produce closes the sessions concerned
            sa = await self.t.connect(a)
            await asyncio.wait_for(insist(), 30)
        page = await sb.history(conversation)
        self.assertEqual([e["clientMsgId"] for e in page["events"]][1:], ids)

    async def test_sigterm_says_goaway_and_devices_move_without_loss(self):
        account = await Account.register(self.cluster.urls[0])
        socket = await self.t.connect(account, gateway=0)

        async def disturb():
            self.cluster.gateways[0].terminate()
            goaway = await socket.next("goaway")
            self.assertIn("deadlineMs", goaway)
            await socket.close()
            self.assertEqual(await asyncio.to_thread(self.cluster.gateways[0].child.wait, 60), 0)
            await asyncio.to_thread(self.cluster.gateways[0].start)

        await self.under_load(disturb)


if __name__ == "__main__":
    unittest.main()
