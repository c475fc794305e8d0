"""Real processes on ports and in directories of their own: either profile, with Kafka and PostgreSQL as it needs them.

    with Cluster("cluster", preset="dev", send_limit=False) as cluster:
        cluster.urls, cluster.gateways[0].kill(), cluster.postgres.pause(), cluster.dsn, ...

What the processes are told stands in `configuration()` and nowhere else.
"""

import atexit
import os
import pathlib
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

from .process import ROOT, Process, Service

GATEWAYS = 2
ROUTERS = 2

# Who knows which section of the settings; a section that is not here is everybody's.
SECTIONS = {
    "gateway": ("gateway", "standalone"), "limits": ("gateway", "router", "standalone"), "auth": ("gateway", "standalone"), "router": ("router", "standalone"),
    "persister": ("persister", "standalone"), "kafka": ("gateway", "router", "persister"), "log_table": ("standalone",)}


def free_block(size):
    """The first of `size` neighbouring ports nobody listens on, below the range from which the kernel takes outgoing ones."""
    for _ in range(200):
        first = random.randrange(12000, 31000 - size)
        probes = []
        try:
            for port in range(first, first + size):
                probe = socket.socket()
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probes.append(probe)
                probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
        return first
    raise RuntimeError("no free block of ports")


class Cluster:
    """`overrides`: setting -> value, told to every role that has that section. `send_limit`: the default limits on sends per user."""

    def __init__(self, profile="cluster", preset=None, overrides=None, send_limit=True, partitions=4, keep=False):
        self.profile, self.send_limit, self.partitions = profile, send_limit, partitions
        self.keep = keep or bool(os.environ.get("PARLEY_KEEP"))  # logs and data, also when all went well
        self.overrides = overrides or {}
        self.bin = ROOT / "build" / (preset or os.environ.get("PRESET", "dev")) / "bin"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="parley-"))
        self.folder.chmod(0o755)  # user postgres passes through
        self.jwt_secret = secrets.token_hex(32)
        base = free_block(16)
        self.gateway_ports, self.gateway_admin = [base, base + 1], [base + 2, base + 3]
        self.router_ports, self.router_admin = [base + 4, base + 5], [base + 6, base + 7]
        self.persister_admin = base + 8
        self.postgres = Service("postgres", self.folder / "pg", base + 9)
        self.kafka = Service("kafka", self.folder / "kafka", base + 10) if profile == "cluster" else None
        self.gateways, self.routers, self.persisters = [], [], []
        if profile == "cluster":
            for index in range(ROUTERS):
                self.routers.append(self._process("router", index, self.router_admin[index]))
            for index in range(GATEWAYS):
                self.gateways.append(self._process("gateway", index, self.gateway_admin[index]))
            self.persisters.append(self._process("persister", 0, self.persister_admin))
        else:
            self.gateways.append(self._process("standalone", 0, self.gateway_admin[0]))

    # ---- what the processes are told ----

    def configuration(self, role, index, admin_port):
        settings = {"admin.port": admin_port, "process.instance": f"{role}-{index}", "postgres.dsn": self.dsn}
        if role != "standalone":
            settings |= {"kafka.brokers": f"127.0.0.1:{self.kafka.port}", "kafka.topic": "parley.log", "kafka.partitions": self.partitions}
        if role in ("gateway", "standalone"):
            settings |= {"gateway.host": "127.0.0.1", "gateway.port": self.gateway_ports[index], "auth.jwt_secret": self.jwt_secret,
                         "gateway.drain_window_ms": 500, "gateway.drain_deadline_ms": 10_000}
            # Everybody comes from one address here, and passwords are not what is tested.
            settings |= dict.fromkeys(("gateway.connects_per_minute", "gateway.max_connections_per_ip", "auth.registers_per_minute", "auth.logins_per_minute",
                                       "auth.login_failures_per_minute"), 0)
            settings |= {"auth.argon2_memory_kib": 64, "auth.argon2_passes": 1}
        routers = ",".join(f"127.0.0.1:{port}" for port in self.router_ports)
        if role == "gateway":
            settings["gateway.routers"] = routers
        if role == "router":
            settings |= {"router.listen": f"127.0.0.1:{self.router_ports[index]}", "router.members": routers}
        if role == "persister":
            settings["persister.member"] = f"persister-{index}"  # static: a restart does not wait for the group's session timeout
        if not self.send_limit:
            settings |= {"limits.sends_per_second": 0} if role in SECTIONS["limits"] else {}
        for key, value in self.overrides.items():
            if role in SECTIONS.get(key.partition(".")[0], (role,)):
                settings[key] = value
        return settings

    @property
    def dsn(self):
        return f"host=127.0.0.1 port={self.postgres.port} user=parley dbname=parley"

    def _process(self, role, index, admin_port):
        return Process(f"{role}-{index}", self.bin / f"parley-{role}", self.folder, self.configuration(role, index, admin_port), admin_port)

    # ---- life ----

    @property
    def processes(self):
        return [*self.persisters, *self.routers, *self.gateways]

    @property
    def urls(self):
        return [f"http://127.0.0.1:{port}" for port in self.gateway_ports[:len(self.gateways)]]

    @property
    def brokers(self):
        return f"127.0.0.1:{self.kafka.port}"

    def start(self):
        missing = [p.binary for p in self.processes if not p.binary.exists()]
        if missing:
            raise RuntimeError(f"not built: {', '.join(map(str, missing))}")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a time limit leaves nothing running behind
        atexit.register(self.abandon)
        self.postgres.start()
        if self.kafka:
            self.kafka.start()
        for process in self.processes:
            process.start(wait=False)
        for process in self.processes:
            process.await_ready(120)
        return self

    def stop(self):
        atexit.unregister(self.abandon)
        for process in reversed(self.processes):
            if process.pid is not None:
                process.resume()
                process.kill() if self._failed else process.terminate()
        for process in reversed(self.processes):
            if process.child is not None:
                try:
                    process.child.wait(40)
                except subprocess.TimeoutExpired:
                    process.kill()
        for service in (self.kafka, self.postgres):
            if service:
                service.kill()
        if self._failed or self.keep:
            print(f"logs and data: {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def abandon(self):
        self._failed = True
        self.stop()

    _failed = False

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self._failed = True
            self.stop()
            raise

    def __exit__(self, kind, *_):
        self._failed = kind is not None
        self.stop()

    # ---- looking in ----

    def psql(self, sql):
        run = subprocess.run(["psql", "--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1", "-d", self.dsn, "-c", sql], capture_output=True, text=True, timeout=60)
        if run.returncode:
            raise RuntimeError(run.stderr.strip())
        return run.stdout.strip()

    def kafka_tool(self, tool, *arguments, timeout=60):
        """One of Kafka's own command-line tools; its output."""
        jars = subprocess.run([ROOT / "tools" / "services" / "kafka", "jars"], capture_output=True, text=True, check=True).stdout.strip()
        run = subprocess.run(["java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*", tool, *arguments], capture_output=True, text=True,
                             timeout=timeout)
        return run.stdout
