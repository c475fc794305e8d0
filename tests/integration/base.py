"""What the integration tests stand on: one cluster for a module, sockets, and a load that the checker judges."""

import asyncio
import pathlib
import tempfile
import unittest

from client.load import Load
from conformance.suite import Context
from harness.judge import judge


class Options:
    """What conformance's Context wants to know."""

    jwt_secret = None

    def __init__(self, cluster):
        self.urls = cluster.urls


class OnACluster(unittest.IsolatedAsyncioTestCase):
    """`cluster` is set by the module, and whole again after each test."""

    cluster = None

    async def asyncSetUp(self):
        asyncio.get_running_loop().set_debug(False)  # unittest asks for it; here it costs more than the load
        self.t = Context(Options(self.cluster), "json")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="history-", dir=self.cluster.folder))

    async def asyncTearDown(self):
        await self.t.cleanup()
        for process in self.cluster.processes:
            process.resume()
            if process.pid is None:
                process.start(wait=False)
        for process in self.cluster.processes:
            await asyncio.to_thread(process.await_ready)

    async def under_load(self, disturb, *, seconds_after=3.0, rate=80.0):
        """Runs `disturb` in the middle of a load; everything must come to rest and be judged clean."""
        load = await Load(self.cluster.urls, self.folder, seed=7, rate=rate).prepare()
        running = asyncio.create_task(load.run())
        try:
            await asyncio.sleep(2)
            await disturb()
            await asyncio.sleep(seconds_after)
            load.stopping.set()
            await running
            self.assertEqual(await load.rest(), [])
        finally:
            await load.stop()
        self.assertGreater(len(load.latencies), 50)
        found, text = judge(self.folder, self.cluster.dsn)
        self.assertEqual(found, {}, text)
