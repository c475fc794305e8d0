"""One of our processes, or a service beside it: start, stop, kill, pause, restart, always by pid."""

import os
import pathlib
import signal
import subprocess
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVICES = ROOT / "tools" / "services"


class NotReady(Exception):
    pass


def wait_until(condition, seconds, what, step=0.02):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise NotReady(f"{what}: not within {seconds:g} s")
        time.sleep(step)


class Process:
    """`configuration`: setting -> value, written to a YAML file before every start."""

    def __init__(self, name, binary, folder, configuration, admin_port):
        self.name, self.binary, self.folder, self.configuration, self.admin_port = name, pathlib.Path(binary), pathlib.Path(folder), configuration, admin_port
        self.log = self.folder / f"{name}.log"
        self.child = None
        self.paused = False

    @property
    def pid(self):
        return self.child.pid if self.child and self.child.poll() is None else None

    def start(self, wait=True, seconds=30):
        path = self.folder / f"{self.name}.yaml"
        path.write_text(yaml(self.configuration))
        path.chmod(0o600)
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen([str(self.binary), f"--config={path}"], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        self.paused = False
        if wait:
            self.await_ready(seconds)

    def ready(self):
        if self.pid is None:
            raise NotReady(f"{self.name} ended with {self.child.returncode}: {self.tail()}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/readyz", timeout=2) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def await_ready(self, seconds=30):
        try:
            wait_until(self.ready, seconds, f"{self.name} ready", step=0.05)
        except NotReady as failure:
            raise NotReady(f"{failure}\n{self.tail()}") from None

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/metrics", timeout=5) as answer:
            return answer.read().decode()

    def tail(self, lines=15):
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    def _signal(self, number):
        if self.pid is not None:
            os.kill(self.pid, number)

    def stop(self, seconds=40):
        """SIGTERM; the exit code."""
        self.resume()
        self._signal(signal.SIGTERM)
        return self.gone(seconds)

    def terminate(self):
        """SIGTERM, without waiting."""
        self._signal(signal.SIGTERM)

    def kill(self):
        self._signal(signal.SIGKILL)
        self.paused = False
        return self.gone(10)

    def gone(self, seconds):
        if self.child is None:
            return None
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait(10)
            raise NotReady(f"{self.name} did not end within {seconds} s of SIGTERM\n{self.tail()}") from None

    def pause(self):
        self._signal(signal.SIGSTOP)
        self.paused = True

    def resume(self):
        if self.paused:
            self._signal(signal.SIGCONT)
            self.paused = False

    def restart(self, wait=True):
        self.kill()
        self.start(wait)


class Service:
    """Kafka or PostgreSQL, by tools/services."""

    def __init__(self, name, folder, port):
        self.name, self.folder, self.port = name, pathlib.Path(folder), port
        self.paused = []

    def _run(self, *arguments):
        run = subprocess.run([str(SERVICES / self.name), *map(str, arguments)], capture_output=True, text=True, timeout=180)
        if run.returncode:
            raise NotReady(f"{self.name} {arguments[0]}: {run.stderr.strip()}")

    def start(self, wait=True):
        del wait  # the script returns when it is ready
        self._run("start", self.folder, self.port)

    def stop(self):
        self.resume()
        self._run("stop", self.folder)

    def kill(self):
        self.resume()
        self._run("kill", self.folder)

    @property
    def pid(self):
        path = self.folder / ("pid" if self.name == "kafka" else "data/postmaster.pid")
        try:
            return int(path.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None

    def pids(self):
        """The process and, for PostgreSQL, its backends."""
        if self.pid is None:
            return []
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.pid)], capture_output=True, text=True).stdout.split()
        return [self.pid, *map(int, children)]

    def pause(self):
        self.paused = self.pids()
        for pid in self.paused:
            try:
                os.kill(pid, signal.SIGSTOP)
            except ProcessLookupError:
                pass

    def resume(self):
        for pid in self.paused:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass
        self.paused = []

    def restart(self, wait=True):
        self.kill()
        self.start(wait)


def yaml(settings):
    """{"gateway.port": 1} as the two levels of the configuration file."""
    sections = {}
    for key, value in settings.items():
        section, _, name = key.rpartition(".")
        sections.setdefault(section, {})[name] = value
    lines = []
    for section, values in sections.items():
        lines.append(f"{section}:")
        for name, value in values.items():
            if isinstance(value, bool):
                value = "true" if value else "false"
            elif isinstance(value, list):
                value = "[" + ", ".join(f'"{v}"' for v in value) + "]"
            elif isinstance(value, str):
                value = f'"{value}"'
            lines.append(f"  {name}: {value}")
    return "\n".join(lines) + "\n"
