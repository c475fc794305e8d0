"""Reading histories: what each device did and saw, one JSON line each (README.md has the format)."""

import json
import pathlib
from dataclasses import dataclass, field


@dataclass
class Device:
    """One device's lines, in the order in which they happened on it."""

    user: str
    device: str
    lines: list = field(default_factory=list)

    @property
    def name(self):
        return f"{self.user}/{self.device}"


@dataclass
class Run:
    """Everything the checker judges."""

    devices: list = field(default_factory=list)
    faults: list = field(default_factory=list)  # lines `fault` and `heal`
    rows: list | None = None  # PostgreSQL's events, or None: not looked at
    counters: dict | None = None  # what the servers counted, or None


class BadHistory(Exception):
    """The history itself is not well formed: a fault of whoever recorded it, not of the server."""


def _lines(path):
    with open(path, encoding="utf-8") as file:
        for number, text in enumerate(file, 1):
            if not text.endswith("\n"):
                return  # the recorder was killed in the middle of a line
            try:
                yield json.loads(text)
            except json.JSONDecodeError as error:
                raise BadHistory(f"{path}:{number}: {error}") from error


def parse(lines, where):
    """One device's or one fault injector's lines."""
    lines = list(lines)
    if not lines:
        return None
    head, rest = lines[0], lines[1:]
    if head.get("f") == "device":
        return Device(head["user"], head["device"], rest)
    if head.get("f") == "faults":
        return rest
    raise BadHistory(f"{where}: the first line is neither `device` nor `faults`")


def load(folder):
    """A run from a folder of *.jsonl, with rows.json and counters.json beside them where they were taken."""
    folder = pathlib.Path(folder)
    run = Run()
    for path in sorted(folder.glob("*.jsonl")):
        parsed = parse(_lines(path), path)
        if isinstance(parsed, Device):
            run.devices.append(parsed)
        elif parsed:
            run.faults.extend(parsed)
    if not run.devices:
        raise BadHistory(f"{folder}: no device histories")
    for name in ("rows", "counters"):
        path = folder / f"{name}.json"
        if path.exists():
            setattr(run, name, json.loads(path.read_text(encoding="utf-8")))
    return run
