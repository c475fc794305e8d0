"""run --minutes M --seed S: load, faults, and the checker. Exit status 0: nothing was lost, doubled, reordered or stuck."""

import argparse
import asyncio
import pathlib
import shutil
import sys
import time

from checker.invariants import HEAL_LIMIT_S
from client.load import Load
from client.recorder import Recorder
from harness.cluster import Cluster
from harness.judge import judge

from .faults import Chaos

ROUND_S = 45.0


def parse():
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--rate", type=float, default=60.0, help="sends a second")
    parser.add_argument("--every", type=float, default=3.0, help="seconds between faults, on average")
    parser.add_argument("--preset")
    parser.add_argument("--table", help="write the table, as markdown, to this file too")
    parser.add_argument("--keep", action="store_true")
    return parser.parse_args()


def memory_mib(process):
    try:
        text = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        return 0.0


def descriptors(process):
    try:
        return len(list(pathlib.Path(f"/proc/{process.pid}/fd").iterdir()))
    except OSError:
        return 0


class Run:
    def __init__(self, args, cluster):
        self.args, self.cluster = args, cluster
        self.folder = cluster.folder / "history"
        self.settle_times = []
        self.most = {}  # process -> (MiB, descriptors)

    async def go(self):
        self.folder.mkdir()
        record = Recorder(self.folder / "faults.jsonl", {"f": "faults"})
        self.load = await Load(self.cluster.urls, self.folder, seed=self.args.seed, rate=self.args.rate).prepare()
        self.chaos = Chaos(self.cluster, self.args.seed, record, every=self.args.every)
        running = asyncio.create_task(self.load.run())
        until = time.monotonic() + self.args.minutes * 60
        try:
            while time.monotonic() < until:
                await self.chaos.run(min(ROUND_S, until - time.monotonic()))
                await self.chaos.heal()
                await self._after_heal()
                self._look()
            self.load.stopping.set()
            await running
            return await self.load.rest(90)
        finally:
            self.load.stopping.set()
            await self.load.stop()
            record.close()

    async def _after_heal(self):
        """I15: what was open at the heal is answered; then a little peace."""
        open_now = [p for d in self.load.devices for c in d.conversations.values() for p in c.pending.values()]
        started = time.monotonic()
        while any(not p.done.done() for p in open_now) and time.monotonic() - started < HEAL_LIMIT_S + 1:
            await asyncio.sleep(0.02)
        self.settle_times.append(time.monotonic() - started)
        await asyncio.sleep(2)

    def _look(self):
        for process in self.cluster.processes:
            mib, fds = self.most.get(process.name, (0.0, 0))
            self.most[process.name] = (max(mib, memory_mib(process)), max(fds, descriptors(process)))


def table(args, run, unrested, text, found, seconds):
    latencies = sorted(run.load.latencies)

    def quantile(q):
        return f"{latencies[min(len(latencies) - 1, int(q * len(latencies)))] * 1000:.0f}" if latencies else "-"

    faults = sum(n for name, n in run.chaos.counts.items() if "by itself" not in name)
    lines = [f"seed {args.seed}, {seconds / 60:.1f} minutes, {faults} faults, {len(run.settle_times)} heals", "",
             "| fault | times |", "|---|---|", *(f"| {name} | {n} |" for name, n in sorted(run.chaos.counts.items())), "",
             "| what | value |", "|---|---|",
             f"| sends answered | {len(latencies)} |",
             f"| send to answer, ms: p50 / p99 / longest (through the faults) | {quantile(.5)} / {quantile(.99)} / {quantile(1)} |",
             f"| seconds from heal until everything open was answered: median / longest | "
             f"{sorted(run.settle_times)[len(run.settle_times) // 2]:.2f} / {max(run.settle_times):.2f} |",
             *(f"| most memory MiB / descriptors: {name} | {mib:.0f} / {fds} |" for name, (mib, fds) in run.most.items()),
             f"| devices not at rest at the end | {len(unrested)} |", ""]
    return "\n".join(lines + ["```", text, *unrested, "```", "", "VIOLATED: " + ", ".join(found) if found or unrested else "Nothing lost, doubled, reordered or stuck."])


def main():
    args = parse()
    args.seed = args.seed if args.seed is not None else int(time.time())
    print(f"seed {args.seed}", flush=True)
    started = time.monotonic()
    with Cluster("cluster", args.preset, {"gateway.heartbeat_ms": 3000}, send_limit=False, keep=args.keep) as cluster:
        run = Run(args, cluster)
        unrested = asyncio.run(run.go())
        found, text = judge(run.folder, cluster.dsn)
        printed = table(args, run, unrested, text, found, time.monotonic() - started)
        print(printed)
        if args.table:
            pathlib.Path(args.table).write_text(printed + "\n")
        bad = bool(found or unrested)
        if bad:
            kept = pathlib.Path("/tmp") / f"parley-chaos-{args.seed}"
            shutil.copytree(cluster.folder, kept, dirs_exist_ok=True, ignore=shutil.ignore_patterns("pg", "kafka"))
            print(f"histories and logs: {kept}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
