"""checker FOLDER [--dsn DSN]: judges a recorded run. Exit status 0: clean, 1: violated, 2: the history is unusable."""

import argparse
import json
import sys

from . import database, history, invariants
from .observed import Observed


def main():
    parser = argparse.ArgumentParser(prog="checker", description=__doc__)
    parser.add_argument("folder", help="*.jsonl of the devices and the fault injector; rows.json and counters.json where taken")
    parser.add_argument("--dsn", help="take the stored events from this PostgreSQL now (I14)")
    parser.add_argument("--json", action="store_true", help="print the violations as JSON")
    args = parser.parse_args()
    try:
        run = history.load(args.folder)
        if args.dsn:
            run.rows = database.events(args.dsn)
    except (history.BadHistory, database.Unreadable) as error:
        print(f"checker: {error}", file=sys.stderr)
        return 2
    seen = Observed(run)
    found = invariants.check(seen)
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        print(summary(seen, found))
    return 1 if found else 0


def summary(seen, found):
    events = sum(len(log) for log in seen.log.values())
    acked = sum(1 for send in seen.sends.values() if send.acks)
    lines = [f"{len(seen.run.devices)} devices, {len(seen.log)} conversations, {events} events, {len(seen.sends)} sends ({acked} acked), "
             f"{'no' if seen.run.rows is None else len(seen.run.rows)} stored rows"]
    for name in invariants.ALL:
        skipped = (name == "I14" and seen.run.rows is None) or (name == "I17" and seen.run.counters is None)
        lines.append(f"{name:4} {'VIOLATED' if name in found else 'not asked' if skipped else 'holds'}")
        lines.extend(f"       {violation}" for violation in found.get(name, ()))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
