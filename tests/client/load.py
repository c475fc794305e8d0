"""People talking: users with one or two devices each, direct and group conversations, one group whose members come and go.

Integration and chaos runs use it; every device records its history, so that tests/checker judges the run.
"""

import asyncio
import pathlib
import random
import time

from .connection import Closed
from .device import Device, Nacked
from .rest import Account

IN_FLIGHT = 20  # per device and conversation


class Load:
    def __init__(self, urls, folder, *, seed=1, users=6, rate=60.0, churn=True):
        self.urls, self.folder, self.rate, self.churn = urls, pathlib.Path(folder), rate, churn
        self.random = random.Random(seed)
        self.user_count = users
        self.accounts, self.devices, self.groups = [], [], []
        self.owner_of = {}
        self.stopping = asyncio.Event()
        self.latencies = []
        self.tasks = set()

    async def prepare(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.accounts = await asyncio.gather(*(Account.register(self.urls[0], f"load{i}") for i in range(self.user_count)))
        for at, account in enumerate(self.accounts):
            for device in range(1 + at % 2):
                name = f"u{at}-d{device}"
                urls = self.urls[(at + device) % len(self.urls):] + self.urls[:(at + device) % len(self.urls)]
                self.devices.append(Device(account, name, urls, encoding=("json", "pb")[(at + device) % 2], history=self.folder / f"{name}.jsonl",
                                           seed=self.random.random()).start())
        await asyncio.wait_for(asyncio.gather(*(d.live.wait() for d in self.devices)), 30)
        owner = self.devices[0]
        for at in range(2):
            result = await owner.operate("createConversation", kind="group", title=f"group {at}", members=[a.id for a in self.accounts[1:]])
            self.groups.append(result["conversation"])
        return self

    async def run(self):
        """Until `stopping`: sends at `rate`, some marks, some comings and goings."""
        due = time.monotonic()
        while not self.stopping.is_set():
            due += self.random.expovariate(self.rate)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due = max(due, time.monotonic() - 1.0)  # after a long stall of this process: no burst to make up for it
            device = self.random.choice(self.devices)
            what = self.random.random()
            if what < 0.05:
                self._spawn(self._mark(device))
            elif what < 0.06 and self.churn:
                self._spawn(self._come_and_go())
            else:
                self._say(device)
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def _spawn(self, coroutine):
        task = asyncio.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _say(self, device):
        text = f"{self.random.getrandbits(64):x} " + "x" * self.random.choice((10, 100, 400))
        if self.random.random() < 0.4:
            peer = self.random.choice(self.accounts)
            options, conversation = {"direct_to": peer.id}, None
        else:
            conversation = self.random.choice(self.groups)
            options = {"conversation": conversation}
        pending = device.send(text, **options) if self._room(device, conversation) else None
        if pending:
            started = time.monotonic()
            pending.done.add_done_callback(lambda done: self.latencies.append(time.monotonic() - started) if not done.exception() else None)

    @staticmethod
    def _room(device, conversation):
        return sum(len(c.pending) for c in device.conversations.values()) < IN_FLIGHT * 3 and (
            conversation is None or conversation not in device.conversations or len(device.conversations[conversation].pending) < IN_FLIGHT)

    async def _mark(self, device):
        held = [(id_, c.seq) for id_, c in device.conversations.items() if c.seq]
        if held:
            conversation, seq = self.random.choice(held)
            try:
                await device.mark_read(conversation, seq)
            except (Nacked, Closed, asyncio.TimeoutError):
                pass  # unanswered: the next one covers it

    async def _come_and_go(self):
        """The owner removes somebody from the second group, and adds him again."""
        owner, user = self.devices[0], self.random.choice(self.accounts[1:])
        try:
            await owner.operate("removeMembers", self.groups[1], users=[user.id])
            await asyncio.sleep(self.random.uniform(0, 1))
            await owner.operate("addMembers", self.groups[1], users=[user.id])
        except (Nacked, Closed):
            pass

    def unanswered(self):
        return sum(len(c.pending) for d in self.devices for c in d.conversations.values())

    async def settle(self, seconds):
        """Waits until nothing is pending anywhere; how long it took, or None."""
        started = time.monotonic()
        while self.unanswered():
            if time.monotonic() - started > seconds:
                return None
            await asyncio.sleep(0.02)
        return time.monotonic() - started

    async def rest(self, seconds=60):
        """Everything answered, every device at rest; the names of those that are not."""
        self.stopping.set()
        await self.settle(seconds)  # what one still sends, another would not hold at his rest
        rested = await asyncio.gather(*(d.rest(seconds) for d in self.devices), return_exceptions=True)
        return [f"{d.device_id}: {r if isinstance(r, BaseException) else 'not at rest'} {d.ended or ''}" for d, r in zip(self.devices, rested) if r is not True]

    async def stop(self):
        self.stopping.set()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*(d.stop() for d in self.devices), return_exceptions=True)
