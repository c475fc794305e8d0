"""The checker over a run that just ended, with PostgreSQL's rows."""

import time

from checker import database, history, invariants
from checker.__main__ import summary
from checker.observed import Observed


def judge(folder, dsn=None, counters=None, wait=30):
    """(violations, text). Waits until PostgreSQL holds as many events as were seen: the persister may be behind."""
    run = history.load(folder)
    run.counters = counters
    seen = Observed(run)
    if dsn:
        expected = sum(len(log) for log in seen.log.values())
        deadline = time.monotonic() + wait
        while int(database.query(dsn, "select count(*) from events")) < expected and time.monotonic() < deadline:
            time.sleep(0.1)
        run.rows = database.events(dsn)
        mine = set(seen.log)
        run.rows = [row for row in run.rows if row["conversation"] in mine]
    found = invariants.check(seen)
    return found, summary(seen, found)
