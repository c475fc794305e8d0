"""The small profile: one process beside PostgreSQL keeps the same promises.

PRESET chooses the binaries."""

import asyncio
import unittest

from harness.cluster import Cluster

from .base import OnACluster


def setUpModule():
    Small.cluster = Cluster("small", overrides={"gateway.heartbeat_ms": 5000}, send_limit=False).__enter__()


def tearDownModule():
    Small.cluster.__exit__(None, None, None)


class Small(OnACluster):
    async def test_two_devices_one_row_each(self):
        a, b, sa, sb = await self.t.pair()
        acks = [await sa.say(f"{i}", to=b) for i in range(20)]
        conversation = acks[0]["conversation"]
        self.assertEqual([(await sb.event(conversation))["chain"] for _ in acks], [k["chain"] for k in acks])
        await sb.history(conversation, limit=1)  # behind the barrier: everything is stored
        rows = self.cluster.psql(f"select seq, id from events where conversation = '{conversation}' order by seq, id")
        self.assertEqual(rows.splitlines(), [f"{k['seq']}|{k['clientMsgId']}" for k in acks])

    async def test_killed_process_loses_nothing(self):
        async def disturb():
            for _ in range(2):
                await asyncio.to_thread(self.cluster.gateways[0].restart)
                await asyncio.sleep(2)

        await self.under_load(disturb)

    async def test_restarted_postgres_loses_nothing(self):
        await self.under_load(lambda: asyncio.to_thread(self.cluster.postgres.restart), seconds_after=5.0)

    async def test_sigterm_ends_in_order_and_loses_nothing(self):
        process = self.cluster.gateways[0]

        async def disturb():
            process.terminate()
            self.assertEqual(await asyncio.to_thread(process.child.wait, 60), 0)
            await asyncio.to_thread(process.start)

        await self.under_load(disturb)


if __name__ == "__main__":
    unittest.main()
