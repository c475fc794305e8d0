"""The faults: what breaks, how, for how long, and how it heals. Chosen by seed; one process has one fault at a time."""

import asyncio
import random
import time
from dataclasses import dataclass


@dataclass
class Fault:
    name: str
    target: object
    begin: object  # called in a thread
    end: object
    lasts: tuple  # seconds, from and to
    weight: int = 1


def catalogue(cluster):
    """Everything that may happen to this cluster. At least one gateway and one router are left alone at any time (Chaos.run sees to it)."""
    faults = []
    for process in (*cluster.gateways, *cluster.routers, *cluster.persisters):
        restart = lambda process=process: process.start(wait=False)  # noqa: E731
        faults.append(Fault(f"kill -9 {process.name}", process, process.kill, restart, (0.0, 3.0), 3))
        faults.append(Fault(f"SIGSTOP {process.name}", process, process.pause, process.resume, (0.3, 6.0), 2))
    for gateway in cluster.gateways:
        faults.append(Fault(f"SIGTERM {gateway.name}", gateway, gateway.terminate, lambda gateway=gateway: (gateway.gone(60), gateway.start(wait=False)), (0.5, 2.0), 1))
    for service, pause in ((cluster.postgres, (0.5, 5.0)), (cluster.kafka, (0.5, 4.0))):
        if service:
            faults.append(Fault(f"kill -9 {service.name}", service, service.kill, service.start, (0.0, 3.0), 2))
            faults.append(Fault(f"SIGSTOP {service.name}", service, service.pause, service.resume, pause, 2))
    return faults


def kind(process):
    return process.name.rstrip("-0123456789")


class Chaos:
    """Starts faults about every `every` seconds, at most `at_once` together; `heal` ends them all and waits until everyone is ready."""

    def __init__(self, cluster, seed, record, every=3.0, at_once=2):
        self.cluster, self.random, self.record = cluster, random.Random(seed), record
        self.every, self.at_once = every, at_once
        self.faults = catalogue(cluster)
        self.broken = {}  # target -> task
        self.counts = {}

    def _allowed(self, fault):
        if fault.target in self.broken:
            return False
        # Two gateways away leave nobody to talk to, two routers nobody to answer: that is an outage, not a fault to be survived.
        return not any(kind(other) == kind(fault.target) for other in self.broken)

    async def run(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await asyncio.sleep(self.random.uniform(0.3, 2 * self.every - 0.3))
            candidates = [f for f in self.faults if self._allowed(f)]
            if len(self.broken) < self.at_once and candidates:
                fault = self.random.choices(candidates, [f.weight for f in candidates])[0]
                self.broken[fault.target] = asyncio.create_task(self._one(fault))

    async def _one(self, fault):
        lasts = self.random.uniform(*fault.lasts)
        self.counts[fault.name] = self.counts.get(fault.name, 0) + 1
        self.record("fault", what=fault.name, lasts=round(lasts, 2))
        try:
            await asyncio.to_thread(fault.begin)
            await asyncio.sleep(lasts)
        finally:
            await asyncio.to_thread(fault.end)
            self.record("mended", what=fault.name)
            self.broken.pop(fault.target, None)

    async def heal(self):
        if self.broken:
            await asyncio.gather(*self.broken.values())
        for process in self.cluster.processes:
            process.resume()
            if process.pid is None:  # it ended by itself: a bug that the table shows
                self.counts[f"{process.name} ended by itself ({process.child.returncode})"] = self.counts.get(f"{process.name} ended by itself", 0) + 1
                process.start(wait=False)
        for process in self.cluster.processes:
            await asyncio.to_thread(process.await_ready, 60)
        self.record("heal")
