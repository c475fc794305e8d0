"""The stored events, read with `psql`: what I14 compares with what the devices saw."""

import json
import subprocess

QUERY = """
select coalesce(json_agg(json_build_object(
         'conversation', conversation, 'seq', seq, 'number', coalesce(number, 0), 'sender', sender, 'id', coalesce(id::text, ''),
         'time', time_ms, 'chain', encode(chain, 'hex'), 'partition', partition, 'offset', log_offset)), '[]')
from events
"""


class Unreadable(Exception):
    pass


def query(dsn, sql):
    """One value, as text."""
    run = subprocess.run(["psql", "--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1", "-d", dsn, "-c", sql], capture_output=True, text=True, timeout=120)
    if run.returncode:
        raise Unreadable(run.stderr.strip())
    return run.stdout.strip()


def events(dsn):
    return json.loads(query(dsn, QUERY))
